package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// unplugDeadline is how long a guest may take to let go of a device; PCI hot-plug takes five seconds by its standard.
const unplugDeadline = 40 * time.Second

// plugger changes a running machine without stopping it.
type plugger struct {
	c  *qmp.Client
	ds dirs
	l  live
	p  provider.Progress
}

// replug makes the NICs and data disks of a running machine what d says.
func (g *plugger) replug(ctx context.Context, d definition) error {
	for _, n := range g.l.attrs.NICs {
		if !slices.ContainsFunc(d.Attrs.NICs, func(w nic) bool { return w.Network == n.Network && w.MAC == n.MAC }) {
			if err := g.removeNIC(ctx, d.Machine, n); err != nil {
				return err
			}
		}
	}
	for _, n := range d.Attrs.NICs {
		if g.nic(n) == nil {
			if err := g.addNIC(ctx, d, n); err != nil {
				return err
			}
		}
	}
	if err := g.links(ctx, d); err != nil {
		return err
	}
	for _, name := range g.l.attrs.Disks {
		if !slices.Contains(d.Attrs.Disks, name) {
			if err := g.removeDisk(ctx, name); err != nil {
				return err
			}
		}
	}
	for _, name := range d.Attrs.Disks {
		if !slices.Contains(g.l.attrs.Disks, name) {
			if err := g.addDisk(ctx, d.Machine, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// nic is the running machine's own NIC that is n; nil if it has none.
func (g *plugger) nic(n nic) *nic {
	i := slices.IndexFunc(g.l.attrs.NICs, func(h nic) bool { return h.Network == n.Network && h.MAC == n.MAC })
	if i < 0 {
		return nil
	}
	return &g.l.attrs.NICs[i]
}

// links sets the links of all NICs that are plugged in. A NIC comes with its link up.
func (g *plugger) links(ctx context.Context, d definition) error {
	for _, n := range d.Attrs.NICs {
		have := lab.Up
		if h := g.nic(n); h != nil {
			have = h.Link
		}
		if have == n.Link {
			continue
		}
		if err := setLink(ctx, g.c, n); err != nil {
			return err
		}
		if h := g.nic(n); h != nil {
			h.Link = n.Link
		}
	}
	return nil
}

func (g *plugger) addNIC(ctx context.Context, d definition, n nic) error {
	g.p(provider.Step{Phase: "plugging in " + n.Network})
	path := g.ds.port(n.Network, d.Machine)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return failure.File(err)
	}
	port, err := g.l.free()
	if err != nil {
		return err
	}
	backend := map[string]any{"type": "stream", "id": "net." + n.Network, "server": true, "addr": map[string]string{"type": "unix", "path": path}}
	if err := g.anew(ctx, "netdev_add", backend, "netdev_del", map[string]string{"id": "net." + n.Network}); err != nil {
		return err
	}
	return g.c.Execute(ctx, "device_add", nicDevice(d.Attrs, n, port), nil)
}

// anew runs add; if what it adds is there already, left by a change that did not end, it is removed first.
func (g *plugger) anew(ctx context.Context, add string, args any, remove string, what any) error {
	err := g.c.Execute(ctx, add, args, nil)
	if !errors.As(err, new(*qmp.Error)) {
		return err
	}
	if g.c.Execute(ctx, remove, what, nil) != nil {
		return err
	}
	return g.c.Execute(ctx, add, args, nil)
}

func (g *plugger) removeNIC(ctx context.Context, machine string, n nic) error {
	g.p(provider.Step{Phase: "unplugging " + n.Network})
	if err := g.unplug(ctx, "nic."+n.Network); err != nil {
		return err
	}
	if n.Link == lab.Down {
		if err := g.c.Execute(ctx, "object-del", map[string]string{"id": linkMark(n.Network)}, nil); err != nil && !errors.As(err, new(*qmp.Error)) {
			return err
		}
	}
	err := g.c.Execute(ctx, "netdev_del", map[string]string{"id": "net." + n.Network}, nil)
	os.Remove(g.ds.port(n.Network, machine))
	return err
}

func (g *plugger) addDisk(ctx context.Context, machine, name string) error {
	g.p(provider.Step{Phase: "plugging in disk " + name})
	port, err := g.l.free()
	if err != nil {
		return err
	}
	if err := g.anew(ctx, "blockdev-add", diskNode(g.ds, machine, name), "blockdev-del", map[string]string{"node-name": node(name)}); err != nil {
		return err
	}
	return g.c.Execute(ctx, "device_add", diskDevice(name, port), nil)
}

func (g *plugger) removeDisk(ctx context.Context, name string) error {
	g.p(provider.Step{Phase: "unplugging disk " + name})
	if err := g.unplug(ctx, diskID(1, name)); err != nil {
		return err
	}
	return g.c.Execute(ctx, "blockdev-del", map[string]string{"node-name": node(name)}, nil)
}

// unplug asks the guest for a device and returns when the guest has let go of it.
func (g *plugger) unplug(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, unplugDeadline)
	defer cancel()
	err := g.c.Execute(ctx, "device_del", map[string]string{"id": id}, nil)
	var refused *qmp.Error
	switch {
	case errors.As(err, &refused) && refused.Class == "DeviceNotFound":
		return nil
	case err != nil && refused == nil:
		return err
	}
	// A refusal may mean that an earlier request is under way ("already in the process of unplug").
	_, err = g.c.Wait(ctx, "DEVICE_DELETED", func(e qmp.Event) bool {
		var d struct{ Device string }
		return json.Unmarshal(e.Data, &d) == nil && d.Device == id
	})
	if err != nil && ctx.Err() != nil {
		return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("the guest did not let go of %s within %s: it is busy, or has no driver for PCI hot-plug running; power the machine off and on", id, unplugDeadline)}
	}
	return err
}

// setLink plugs a NIC's cable in or out, and leaves a mark for those who ask.
func setLink(ctx context.Context, c *qmp.Client, n nic) error {
	err := c.Execute(ctx, "set_link", map[string]any{"name": "nic." + n.Network, "up": n.Link == lab.Up}, nil)
	if err != nil {
		return err
	}
	if n.Link == lab.Down {
		err = c.Execute(ctx, "object-add", map[string]string{"qom-type": "secret", "id": linkMark(n.Network), "data": "-"}, nil)
	} else {
		err = c.Execute(ctx, "object-del", map[string]string{"id": linkMark(n.Network)}, nil)
	}
	if errors.As(err, new(*qmp.Error)) {
		return nil // the mark was there, or gone, already
	}
	return err
}

func linkMark(network string) string { return "down." + network }
