package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/golden"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// bases has machines keep the baked images that they were made from, and new ones take those that this host has.
func (r *road) bases(l lab.Lab, observed []provider.Observed) (lab.Lab, bool, error) {
	from := golden.From{}
	for _, o := range observed {
		machine, disk, err := o.Addr.Disk()
		k, _ := r.engine.Description.Kind(o.Addr.Kind)
		m, ok := l.Machine(machine)
		if id, is := o.Attrs["image"].(string); k.Data && err == nil && ok && len(m.Disks) > 0 && m.Disks[0].Name == disk {
			from[machine] = "none"
			if is {
				from[machine] = id
			}
		}
	}
	fresh, err := r.fresh(l, from)
	if err != nil {
		return l, false, err
	}
	l, changed := golden.Keep(l, from, fresh)
	return l, changed, nil
}

// fresh are the baked images of this host that machines without a root disk can be made from.
func (r *road) fresh(l lab.Lab, from golden.From) (map[string]lab.Image, error) {
	s := image.Store{Dir: r.imagesFolder()}
	have, _ := s.List() // a damaged image is as good as none: the machine is made without it
	baked := slices.ContainsFunc(have, func(i image.Local) bool { return strings.Contains(i.ID, "+") })
	if !baked || !slices.ContainsFunc(l.Machines, func(m lab.Machine) bool { return m.Ours() && from[m.Name] == "" }) {
		return nil, nil
	}
	wants, err := r.wants(l)
	if err != nil {
		return nil, err
	}
	fresh := map[string]lab.Image{}
	for _, w := range wants {
		local, ok, err := s.Find(w.Image())
		if err != nil || !ok {
			continue
		}
		for _, name := range w.Machines {
			if m, _ := l.Machine(name); m.Disks[0].Size >= local.Size {
				fresh[name] = w.Image()
			}
		}
	}
	return fresh, nil
}

func (r *road) wants(l lab.Lab) ([]golden.Want, error) {
	seeds, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		return nil, err
	}
	return golden.Wants(l, seeds)
}

// gains says which machines of a plan would be spared the installing of packages by an image that nobody has made yet.
func (r *road) gains(p plan.Plan) ([]string, error) {
	makes := map[string]string{} // machine to the identity of the image that its root disk is made from
	for _, c := range p.Changes {
		k, _ := r.engine.Description.Kind(c.Addr.Kind)
		machine, disk, err := c.Addr.Disk()
		m, ok := r.lab.Machine(machine)
		if !k.Data || c.After == nil || err != nil || !ok || m.Disks[0].Name != disk || c.Action != plan.Create && c.Action != plan.Replace {
			continue
		}
		makes[machine], _ = c.After.Attrs["image"].(string)
	}
	if len(makes) == 0 {
		return nil, nil
	}
	wants, err := r.wants(r.lab)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, w := range wants {
		var who []string
		for _, m := range w.Machines {
			if id, ok := makes[m]; ok && !strings.Contains(id, "+") {
				who = append(who, m)
			}
		}
		switch n := len(w.Bake.Packages); {
		case len(who) == 0:
		case n == 1:
			lines = append(lines, fmt.Sprintf("%s: 1 package is not in its image (%s)", strings.Join(who, ", "), w.Bake.Packages[0]))
		default:
			lines = append(lines, fmt.Sprintf("%s: %d packages are not in the image", strings.Join(who, ", "), n))
		}
	}
	if len(lines) > 0 {
		lines[len(lines)-1] += fmt.Sprintf("; 'labctl image build --with-roles %s' would spare installing", r.flags.path)
	}
	return lines, nil
}
