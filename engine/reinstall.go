package engine

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// roots are the root disks of machines that are to be reinstalled. Disks that are missing are made anyway.
func roots(d provider.Description, l lab.Lab, desired []provider.Resource, observed []provider.Observed, machines []string) ([]provider.Addr, error) {
	var out []provider.Addr
	for _, name := range machines {
		refuse := func(code provider.Code, format string, args ...any) error {
			return &provider.Error{Op: "reinstall machine " + name, Code: code, Text: fmt.Sprintf(format, args...)}
		}
		m, ok := l.Machine(name)
		switch {
		case !ok:
			return nil, refuse(provider.NotFound, "lab %s has no such machine", l.Name)
		case m.External.IsValid():
			return nil, refuse(provider.Unsupported, "it is external: others made it, and keep it")
		case m.Adopted != "":
			return nil, refuse(provider.Unsupported, "it is adopted: its disks are not labctl's")
		case !slices.ContainsFunc(observed, func(o provider.Observed) bool { return o.Machine == name }):
			return nil, refuse(provider.NotFound, "nothing of it exists: apply makes it")
		}
		at := slices.IndexFunc(desired, func(r provider.Resource) bool {
			k, _ := d.Kind(r.Addr.Kind)
			return k.Data && r.Machine == name && len(m.Disks) > 0 && r.Addr.Name == name+"/"+m.Disks[0].Name
		})
		if at < 0 {
			return nil, refuse(provider.Unsupported, "provider %s gives it no root disk that could be made again", d.Name)
		}
		out = append(out, desired[at].Addr)
	}
	return out, nil
}
