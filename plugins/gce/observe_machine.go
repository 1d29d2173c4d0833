package gce

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

func (v *view) machines() error {
	return each(v, kindMachine, func(i api.Instance) error {
		name := i.Labels[labelMachine]
		a := v.machineOf(i)
		out := map[string]string{"name": i.Name, "status": i.Status, "zone": v.g.opts.Zone}
		if len(i.NICs) > 0 && len(i.NICs[0].Access) > 0 && i.NICs[0].Access[0].Address != "" {
			out["address/external"] = i.NICs[0].Access[0].Address
		}
		if at, ok := ends(i); ok && powerOf(i.Status) == lab.On {
			out["expires"] = at.UTC().Format(time.RFC3339)
		}
		if err := v.add(kindMachine, name, name, a, machineNeeds(name, a), out); err != nil {
			return err
		}
		return v.guest(name, i)
	})
}

// machineOf is an instance in normal form.
func (v *view) machineOf(i api.Instance) machineAttrs {
	a := machineAttrs{
		Type: api.Base(i.MachineType), Forwards: i.Forwards, Power: string(powerOf(i.Status)), Protect: i.Protected,
		Nested: i.Advanced != nil && i.Advanced.Nested, Metadata: map[string]string{}, TTL: ttlOf(i),
	}
	var gpus []string
	for _, x := range i.Accelerators {
		gpus = append(gpus, fmt.Sprintf("%s x %d", api.Base(x.Type), x.Count))
	}
	a.GPUs = strings.Join(gpus, ", ")
	for _, n := range i.NICs {
		a.NICs = append(a.NICs, nic{v.networkOf(n.Network), n.Address})
	}
	if len(i.NICs) > 0 && len(i.NICs[0].Access) > 0 {
		var ok bool
		if a.External, ok = v.external[i.NICs[0].Access[0].Address]; !ok {
			a.External = "(not labctl's)"
		}
	}
	disks := slices.Clone(i.Disks)
	sort.SliceStable(disks, func(x, y int) bool {
		if disks[x].Boot != disks[y].Boot {
			return disks[x].Boot
		}
		return disks[x].Device < disks[y].Device
	})
	for _, d := range disks {
		a.Disks = append(a.Disks, d.Device)
	}
	for k := range ownMetadata() {
		if value, ok := i.Metadata.Get(k); ok {
			a.Metadata[k] = value
		}
	}
	return a
}

// guest reports what was once true inside, if anything was.
func (v *view) guest(machine string, i api.Instance) error {
	text, ok := i.Metadata.Get(metaGuest)
	if !ok {
		return nil
	}
	var a guestAttrs
	if json.Unmarshal([]byte(text), &a) != nil {
		return nil // no mark of ours
	}
	return v.add(kindGuest, machine, machine, a, []provider.Addr{addr(kindMachine, machine)}, nil)
}
