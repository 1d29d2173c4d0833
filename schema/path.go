package schema

import (
	"strconv"
	"strings"
)

// joinPath writes the names of a path with dots between them, quoting those that could be misread:
// servers.web.files."/etc/motd".mode.
func joinPath(names ...string) string {
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

func plain(name string) bool {
	for _, r := range name {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '#' {
			continue
		}
		return false
	}
	return name != ""
}

// splitPath is the reverse of joinPath. It also takes list[0] for list.0.
func splitPath(path string) []string {
	var names []string
	for path != "" {
		if quoted, err := strconv.QuotedPrefix(path); err == nil && path[0] == '"' {
			name, _ := strconv.Unquote(quoted) // it is quoted, as QuotedPrefix says
			names, path = append(names, name), strings.TrimPrefix(path[len(quoted):], ".")
			continue
		}
		name, rest, _ := strings.Cut(path, ".")
		if list, index, ok := strings.Cut(name, "["); ok {
			names = append(names, list)
			name = strings.TrimSuffix(index, "]")
		}
		names, path = append(names, name), rest
	}
	return names
}
