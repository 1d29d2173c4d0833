package check

import (
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// fetched checks what a machine fetches by itself.
func (v *vetter) fetched(path string, o lab.Origin) {
	v.url(path+".url", o.URL, "http", "https")
	if len(o.SHA256) != digestLengths["sha256"] || strings.Trim(o.SHA256, "0123456789abcdef") != "" {
		v.error(path+".sha256", "%q is not a sha256 digest of 64 hex digits", o.SHA256)
	}
}

// onchange checks that what runs a command again is a file of its machine: else it would never be run again.
func (v *vetter) onchange(m lab.Machine, path string, c lab.Command) {
	var files []string
	for _, f := range m.Guest.Files {
		files = append(files, f.Path)
	}
	for _, p := range c.OnChange {
		inside := func(file string) bool { return strings.HasSuffix(p, "/") && strings.HasPrefix(file, p) }
		if !slices.Contains(files, p) && !slices.ContainsFunc(files, inside) {
			v.error(path, "the machine has no file %s%s", p, lab.Meant(p, files))
		}
	}
}
