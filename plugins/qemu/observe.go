package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/install/serve"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/site"
)

// Observe implements provider.Provider: one pass over the lab's folder, and all live processes asked in parallel.
func (q *qemu) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("observe lab "+l.Name, provider.Addr{}, failure.File(err))
	}
	ds := q.dirs(l.Name)
	o := observer{q: q, l: l, ds: ds, lans: sync.OnceValues(func() (netd.Status, error) { return networksOf(ctx, ds) }), here: sync.OnceValues(func() (site.Site, error) {
		return site.Place(l, q.opts.UplinkCIDR, networkAddr)
	})}
	steps := []func(context.Context) error{o.images, o.networks, o.disks, o.machines}
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i, step := range steps {
		wg.Go(func() { errs[i] = step(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, provider.Wrap("observe lab "+l.Name, provider.Addr{}, err)
		}
	}
	sort.Slice(o.found, func(i, j int) bool { return o.found[i].Addr.Compare(o.found[j].Addr) < 0 })
	return o.found, nil
}

type observer struct {
	q  *qemu
	l  lab.Lab
	ds dirs
	// lans are the networks as their process says.
	lans func() (netd.Status, error)
	// here is the lab with the addresses that this target gives.
	here func() (site.Site, error)

	mu    sync.Mutex // guards found
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
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found = append(o.found, obs)
	return nil
}

func (o *observer) images(context.Context) error {
	for _, i := range o.l.Images {
		local, ok, err := o.q.store().Find(i)
		if err != nil {
			return failure.Image(err)
		}
		if !ok {
			continue
		}
		obs := provider.Observed{Addr: addr(kindImage, i.Name), Shared: true, Outputs: map[string]string{"disk": local.Disk}}
		if err := o.add(obs, imageAttrs{local.ID, i}); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) networks(ctx context.Context) error {
	st, err := o.lans()
	if err != nil {
		return err
	}
	for _, n := range st.Networks {
		out := map[string]string{"pid": strconv.Itoa(st.PID), "log": o.ds.netd().Log()}
		if a := n.Network.Addr(); a.IsValid() {
			out["address"] = a.String()
		}
		a := networkAttrs{n.Network}
		if err := o.add(provider.Observed{Addr: addr(kindNetwork, n.Network.Name), Outputs: out}, a); err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) disks(context.Context) error {
	locals, _ := o.q.store().List() // without one of them, only the base's path is not compared
	bases := map[string]string{}
	for _, l := range locals {
		bases[l.ID] = l.Disk
	}
	paths, _ := filepath.Glob(filepath.Join(o.ds.data, "disks", "*", "*.qcow2"))
	for _, path := range paths {
		machine, disk := o.ds.named(path)
		a, needs, err := o.disk(machine, disk, bases)
		if errors.Is(err, fs.ErrNotExist) || provider.CodeOf(err) == provider.NotFound {
			continue // deleted meanwhile
		}
		if err != nil {
			return provider.Wrap("observe", addr(kindDisk, machine+"/"+disk), err)
		}
		if _, file := o.ds.poolOf(machine, disk); file != "" {
			path = file
		}
		obs := provider.Observed{Addr: addr(kindDisk, machine+"/"+disk), Machine: machine, Needs: needs, Outputs: map[string]string{"path": path}}
		if st, err := os.Stat(path); err == nil {
			obs.Outputs["used"] = lab.Bytes(st.Size()).String()
		}
		if err := o.add(obs, a); err != nil {
			return err
		}
	}
	return nil
}

// disk is a disk by what its file says: the size and base in its header. bases are the store's disks by identity.
func (o *observer) disk(machine, disk string, bases map[string]string) (diskAttrs, []provider.Addr, error) {
	head, err := readHeader(o.ds.disk(machine, disk))
	if err != nil {
		return diskAttrs{}, nil, err
	}
	l, _ := o.ds.loadLabel(machine, disk) // without one, the header still tells most
	a := diskAttrs{Protect: l.Protect, Image: l.Image, Install: l.Install}
	a.Pool, _ = o.ds.poolOf(machine, disk)
	if l.Boot {
		a.BootSize = head.size
	} else {
		a.Size = head.size
	}
	switch base, known := bases[l.Image]; {
	case head.backing == "" && l.Install != "": // the image is what is written on it
	case head.backing == "":
		a.Image = ""
	case l.Image == "" || known && base != head.backing:
		a.Image = "file:" + head.backing // not what we made it from
	}
	var needs []provider.Addr
	for _, i := range o.l.Images {
		if a.Image != "" && image.ID(i) == a.Image {
			needs = append(needs, addr(kindImage, i.Name))
		}
	}
	return a, needs, nil
}

// machines asks all machines at once: one that hangs costs its deadline, not the sum of all.
func (o *observer) machines(ctx context.Context) error {
	paths, _ := filepath.Glob(filepath.Join(o.ds.machines(), "*", "machine.json"))
	errs := make([]error, len(paths))
	var wg sync.WaitGroup
	turn := make(chan struct{}, 32)
	for i, path := range paths {
		wg.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			name := filepath.Base(filepath.Dir(path))
			errs[i] = provider.Wrap("observe", addr(kindMachine, name), o.machine(ctx, name))
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *observer) machine(ctx context.Context, name string) error {
	d, err := o.ds.load(name)
	if err != nil || d == nil {
		return err
	}
	a := d.Attrs
	out := map[string]string{"console": o.ds.console(name)}
	l, err := o.live(ctx, name)
	pid := 0
	if l == nil {
		pid = o.q.process(name, o.ds)
	}
	switch {
	case pid != 0 && provider.CodeOf(err) == provider.Unavailable:
		a.Power, out["pid"] = hung, strconv.Itoa(pid)
	case err != nil:
		return err
	case l == nil:
		a.Power = string(lab.Off)
		s, err := o.ds.loadSaved(name)
		if err != nil {
			return err
		}
		if s != nil {
			a = s.Attrs
			a.Power, a.Protect = string(lab.Saved), d.Attrs.Protect
		}
		if pid != 0 {
			a.Power, out["pid"] = unreachable, strconv.Itoa(pid)
		}
	default:
		a = running(*l, *d)
		out["pid"], out["accel"] = strconv.Itoa(l.pid), l.accel
		if st, err := os.Stat(o.ds.look(name)); err == nil { // made when the process started
			out["started"] = st.ModTime().UTC().Format(time.RFC3339)
		}
	}
	if err := o.add(provider.Observed{Addr: addr(kindMachine, name), Machine: name, Needs: machineNeeds(name, a), Outputs: o.addresses(name, out)}, a); err != nil {
		return err
	}
	return o.guest(*d)
}

// Only a new start mends these powers of a machine that runs.
const (
	unreachable = "unreachable" // it has lost its sockets
	hung        = "hung"        // its QEMU does not answer within answerDeadline
)

// live asks a machine's process; nil if it does not run, or ends while it is asked.
func (o *observer) live(ctx context.Context, name string) (*live, error) {
	c, err := o.q.monitor(ctx, o.ds, name, o.ds.look(name))
	if err != nil || c == nil {
		return nil, err
	}
	defer c.Close()
	actx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	l, err := ask(actx, c)
	if err == nil {
		return &l, nil
	}
	if c.PID() != 0 && !alive(c.PID()) {
		return nil, nil
	}
	return nil, silent(name, err)
}

// running is a live machine in normal form. What is no part of a process is taken from the definition.
func running(l live, d definition) machineAttrs {
	a := l.attrs
	a.Protect = d.Attrs.Protect
	switch {
	case a.Firmware != lab.Kernel:
	case l.kernel == d.Kernel:
		a.Image = d.Attrs.Image
	default:
		a.Image = "file:" + l.kernel
	}
	return a
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
	l, lerr := o.ds.loadLabel(d.Machine, d.root())
	if json.Unmarshal(b, &m) != nil || lerr != nil || l.ID != m.Disk || !exists(o.ds.disk(d.Machine, d.root())) || d.Installs && o.rewritten(d.Machine) {
		return nil
	}
	obs := provider.Observed{Addr: addr(kindGuest, d.Machine), Machine: d.Machine, Needs: []provider.Addr{addr(kindMachine, d.Machine)}}
	return o.add(obs, m.guestAttrs)
}

// rewritten says whether a machine that installs itself has begun to do so again since its mark was made: what was true
// inside went with what was on its disk.
func (o *observer) rewritten(machine string) bool {
	info, err := os.Stat(o.ds.mark(machine))
	if err != nil {
		return false
	}
	st, err := o.lans()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(st.Networks, func(n netd.NetworkStatus) bool {
		return slices.ContainsFunc(n.Installs, func(h serve.Status) bool { return h.Machine == machine && h.When.After(info.ModTime()) })
	})
}
