package check

import (
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// pools checks that disks have a place.
func (v *vetter) pools() {
	pools := map[string]lab.Pool{}
	var names []string
	for _, p := range v.lab.Pools {
		pools[p.Name] = p
		names = append(names, p.Name)
		v.label(lab.Path("pools", p.Name), p.Name)
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			v.error(lab.Path("pools", p.Name, "path"), "%q is not an absolute path", p.Path)
		}
	}
	used := map[string]lab.Bytes{}
	users := map[string][]string{}
	for _, m := range v.lab.Machines {
		for i, d := range m.Disks {
			if d.Pool == "" {
				continue
			}
			if _, ok := pools[d.Pool]; !ok {
				if i == 0 || d.Pool != m.Disks[0].Pool { // one field says it for all of a machine's disks
					v.error(m.Path("pool"), "there is no pool called %q%s", d.Pool, list("; there is ", names))
				}
				continue
			}
			used[d.Pool] += d.Size
			users[d.Pool] = append(users[d.Pool], fmt.Sprintf("%s/%s %s", m.Name, d.Name, d.Size))
		}
	}
	for _, p := range v.lab.Pools {
		if p.Size > 0 && used[p.Name] > p.Size {
			v.error(lab.Path("pools", p.Name, "size"), "the disks in it may come to %s%s", used[p.Name], list(", and it has "+p.Size.String()+": ", users[p.Name]))
		}
	}
}
