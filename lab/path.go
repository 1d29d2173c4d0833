package lab

import (
	"strconv"
	"strings"
)

// Path is a place in the spec: names with dots between them, those quoted that could be misread.
func Path(names ...string) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteByte('.')
		}
		if plain(n) {
			b.WriteString(n)
		} else {
			b.WriteString(strconv.Quote(n))
		}
	}
	return b.String()
}

// plain says whether a name stands in a path as it is.
func plain(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-#"
	return name != "" && strings.Trim(name, letters) == ""
}

// Path is where the machine, or a field of it, stands in the spec: "servers.web", "routers.edge.nics.lan".
func (m Machine) Path(fields ...string) string {
	kind := "servers"
	if m.Router {
		kind = "routers"
	}
	return Path(append([]string{kind, m.Name}, fields...)...)
}
