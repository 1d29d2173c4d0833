package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// hostOptions are what the target says of its host. Without them nothing is known of it.
type hostOptions struct {
	CPUs   int        `json:"cpus"`
	Memory lab.Bytes  `json:"memory"`
	Free   *lab.Bytes `json:"free"` // before any machine of ours runs
	Disk   lab.Bytes  `json:"disk"`
}

// Capacity implements provider.Measurer.
func (p *memory) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	if err := ctx.Err(); err != nil {
		return provider.Capacity{}, provider.Wrap("measure the host", provider.Addr{}, err)
	}
	var o struct {
		Host       hostOptions
		Capacity   provider.Judgement
		Overcommit float64
	}
	b, err := json.Marshal(p.options.Values)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err != nil {
		return provider.Capacity{}, &provider.Error{Op: "measure the host", Code: provider.Invalid, Text: err.Error()}
	}
	c := provider.Capacity{CPUs: o.Host.CPUs, Memory: o.Host.Memory, Free: o.Host.Memory, Limits: provider.Limits{Judge: o.Capacity, Overcommit: o.Overcommit}}
	if o.Host.Free != nil {
		c.Free = *o.Host.Free
	}
	var disks lab.Bytes
	worlds, _ := filepath.Glob(filepath.Join(p.options.Home, "labs", "*", "targets", "*"))
	for _, folder := range append(worlds, p.host().folder) {
		objects, err := p.at(folder).read()
		if err != nil {
			return provider.Capacity{}, provider.Wrap("measure the host", provider.Addr{}, err)
		}
		for _, x := range objects {
			disks += size(x.Attrs["size"])
			if u, ok := use(x); ok {
				if u.Lab != "" {
					u.Target = filepath.Base(folder)
				}
				c.Uses = append(c.Uses, u)
				c.Free -= min(c.Free, u.Resident)
			}
		}
	}
	slices.SortFunc(c.Uses, func(a, b provider.Use) int { return strings.Compare(a.Name, b.Name) })
	if o.Host.Disk > 0 {
		pools := []string{""}
		for _, pool := range l.Pools {
			pools = append(pools, pool.Name)
		}
		c.Stores = []provider.Store{{Pools: pools, Path: p.options.Home, Device: "disk", Size: o.Host.Disk, Free: o.Host.Disk, Promised: disks}}
	}
	return c, nil
}

// use is what a machine takes: all of its memory, at once.
func use(x provider.Observed) (provider.Use, bool) {
	if x.Addr.Kind != machine || x.Attrs["power"] != string(lab.On) && x.Attrs["power"] != string(lab.Suspended) {
		return provider.Use{}, false
	}
	cpus, _ := x.Attrs["cpus"].(float64)
	memory := size(x.Attrs["memory"])
	u := provider.Use{Name: x.Addr.Name, CPUs: int(cpus), Memory: memory, Resident: memory}
	if x.Lab != "" {
		u.Name, u.Lab, u.Machine = fmt.Sprintf("%s-%s", x.Lab, x.Addr.Name), x.Lab, x.Machine
	}
	return u, true
}

// size is a number of bytes among attributes; 0 if it is none.
func size(v any) lab.Bytes {
	n, _ := v.(float64)
	return lab.Bytes(n)
}
