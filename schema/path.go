package schema

import (
	"strconv"
	"strings"
)

// splitPath is the reverse of lab.Path. It also takes list[0] for list.0.
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
