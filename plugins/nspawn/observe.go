package nspawn

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/plugins/nspawn/tree"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/site"
)

// Observe implements provider.Provider: one pass over the lab's folder, and its network process asked once.
func (s *nspawn) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("observe lab "+l.Name, provider.Addr{}, failure.File(err))
	}
	o := observer{s: s, l: l, ds: s.dirs(l.Name), here: sync.OnceValues(func() (site.Site, error) {
		return site.Place(l, s.opts.UplinkCIDR, networkAddr)
	})}
	for _, step := range []func(context.Context) error{o.images, o.networks, o.disks, o.machines} {
		if err := step(ctx); err != nil {
			return nil, provider.Wrap("observe lab "+l.Name, provider.Addr{}, err)
		}
	}
	sort.Slice(o.found, func(i, j int) bool { return o.found[i].Addr.Compare(o.found[j].Addr) < 0 })
	return o.found, nil
}

type observer struct {
	s    *nspawn
	l    lab.Lab
	ds   dirs
	room room.Status // zero if none runs
	// here is the lab with the addresses that this target gives.
	here  func() (site.Site, error)
	found []provider.Observed
}

func (o *observer) add(obs provider.Observed, attrs any) error {
	enc, err := provider.Encode(attrs)
	if err != nil {
		return err
	}
	obs.Attrs = enc
	if !obs.Shared {
		obs.Lab = o.l.Name
	}
	o.found = append(o.found, obs)
	return nil
}

// images are there when they have been made a tree.
func (o *observer) images(context.Context) error {
	for _, i := range o.l.Images {
		local, ok, err := o.s.store().Find(i)
		if err != nil {
			return failure.Image(err)
		}
		if !ok || !tree.Exists(local) {
			continue
		}
		obs := provider.Observed{Addr: addr(kindImage, i.Name), Shared: true, Outputs: map[string]string{"tree": tree.Path(local)}}
		if err := o.add(obs, imageAttrs{local.ID, i}); err != nil {
			return err
		}
	}
	return nil
}

// networks are those that the network process has. Without it there are none: making them again mends that.
func (o *observer) networks(ctx context.Context) error {
	st, err := o.ds.client().Status(ctx)
	if errors.Is(err, room.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return roomError(err)
	}
	o.room = st
	for _, n := range st.Networks {
		out := map[string]string{"pid": strconv.Itoa(st.PID), "log": filepath.Join(o.ds.room(), "room.log")}
		if err := o.add(provider.Observed{Addr: addr(kindNetwork, n.Name), Outputs: out}, networkAttrs{n}); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) disks(context.Context) error {
	paths, _ := filepath.Glob(filepath.Join(o.ds.data, "disks", "*", "*.json"))
	for _, path := range paths {
		machine, disk := filepath.Base(filepath.Dir(path)), strings.TrimSuffix(filepath.Base(path), ".json")
		l, err := o.ds.loadLabel(machine, disk)
		if os.IsNotExist(err) {
			continue // deleted meanwhile
		}
		if err != nil {
			return provider.Wrap("observe", addr(kindDisk, machine+"/"+disk), failure.File(err))
		}
		var needs []provider.Addr
		file := o.ds.file(machine, disk)
		if l.Image != "" {
			file = o.ds.root(machine, disk)
		} else if !exists(file) {
			continue // it is made anew
		}
		for _, i := range o.l.Images {
			if l.Image != "" && image.ID(i) == l.Image {
				needs = append(needs, addr(kindImage, i.Name))
			}
		}
		obs := provider.Observed{Addr: addr(kindDisk, machine+"/"+disk), Machine: machine, Needs: needs, Outputs: map[string]string{"path": file}}
		if err := o.add(obs, l.diskAttrs); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) machines(context.Context) error {
	paths, _ := filepath.Glob(filepath.Join(o.ds.machines(), "*", "machine.json"))
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		if err := o.machine(name); err != nil {
			return provider.Wrap("observe", addr(kindMachine, name), err)
		}
	}
	return nil
}

func (o *observer) machine(name string) error {
	d, err := o.ds.load(name)
	if err != nil || d == nil {
		return err
	}
	a := d.Attrs
	out := map[string]string{"console": filepath.Join(o.ds.machine(name), box.ConsoleFile)}
	r, ok := o.s.running(o.ds, name)
	if !ok {
		a.Power = string(lab.Off)
	} else {
		a.Power, a.NICs, a.Disks = string(lab.On), nil, r.marks.Disks
		for _, c := range o.room.Cabled(name) {
			link := lab.Down
			if c.Up {
				link = lab.Up
			}
			a.NICs = append(a.NICs, nic{c.Network, c.MAC, link})
		}
		a.sort()
		out["pid"] = strconv.Itoa(r.pid)
	}
	if err := o.add(provider.Observed{Addr: addr(kindMachine, name), Machine: name, Needs: machineNeeds(name, a), Outputs: o.addresses(name, out)}, a); err != nil {
		return err
	}
	return o.guest(*d)
}

func machineNeeds(name string, a machineAttrs) []provider.Addr {
	var needs []provider.Addr
	for _, d := range a.Disks {
		needs = append(needs, addr(kindDisk, name+"/"+d))
	}
	for _, n := range a.NICs {
		needs = append(needs, addr(kindNetwork, n.Network))
	}
	sort.Slice(needs, func(i, j int) bool { return needs[i].Compare(needs[j]) < 0 })
	return needs
}

// addresses adds those that this target gives, which stand nowhere in the lab.
func (o *observer) addresses(machine string, out map[string]string) map[string]string {
	here, err := o.here()
	if err != nil {
		return out
	}
	for network, a := range here.Given(o.l, machine) {
		out["address/"+network] = a.String()
	}
	return out
}

// guest reports the mark of what was once true inside, if that was on the disk that the machine has now.
func (o *observer) guest(d definition) error {
	b, err := os.ReadFile(o.ds.mark(d.Machine))
	if err != nil {
		return nil // not there is the usual case; unreadable is as good as not there
	}
	var m mark
	l, lerr := o.ds.loadLabel(d.Machine, d.Attrs.root())
	if json.Unmarshal(b, &m) != nil || lerr != nil || l.ID != m.Disk {
		return nil
	}
	obs := provider.Observed{Addr: addr(kindGuest, d.Machine), Machine: d.Machine, Needs: []provider.Addr{addr(kindMachine, d.Machine)}}
	return o.add(obs, m.guestAttrs)
}
