package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
)

// StartOnce implements provider.Starter: the machine shuts down and becomes a process that starts from what s says, which
// then learns what its definition says. QEMU tells the firmware of the order when a machine is reset, so what it learns now
// counts from the next reset on.
func (q *qemu) StartOnce(ctx context.Context, l lab.Lab, s provider.Start, p provider.Progress) error {
	at := addr(kindMachine, s.Machine)
	ds := q.dirs(l.Name)
	d, err := ds.load(s.Machine)
	if err != nil {
		return provider.Wrap("start", at, err)
	}
	if d == nil {
		return &provider.Error{Op: "start", Addr: at, Code: provider.NotFound, Text: "it does not exist"}
	}
	if err := d.startsFrom(string(s.From)); err != nil {
		return provider.Wrap("start", at, err)
	}
	if saved, err := ds.loadSaved(s.Machine); err != nil || saved != nil {
		if err == nil {
			err = &provider.Error{Code: provider.Invalid, Text: "its memory is saved: 'labctl restore' lets it go on, 'labctl stop' shuts it down"}
		}
		return provider.Wrap("start", at, err)
	}
	if network, ok := cutNetwork(string(s.From)); ok && s.Shell {
		if err := ds.lans().Shell(ctx, netd.ShellRequest{Network: network, Machine: s.Machine}); err != nil {
			return provider.Wrap("start", at, networkError(err))
		}
	}
	grace := q.opts.stopAfter()
	if all, err := q.Installations(ctx, l); err == nil && slices.ContainsFunc(all, func(i provider.Installation) bool { return i.Machine == s.Machine && !i.Done }) {
		grace = 0 // an installer hears no button, and what it has written is written anew
	}
	return provider.Wrap("start", at, q.startOnce(ctx, *d, ds, s, grace, p))
}

func (q *qemu) startOnce(ctx context.Context, d definition, ds dirs, s provider.Start, grace time.Duration, p provider.Progress) error {
	if err := q.stop(ctx, d.Machine, ds, grace, p); err != nil {
		return err
	}
	once := d
	once.Attrs.Power = string(lab.On)
	if d.Attrs.Firmware != lab.Kernel {
		once.Attrs.Boot = []string{string(s.From)}
	}
	p(provider.Step{Phase: "starting from " + string(s.From)})
	if err := q.boot(ctx, once, ds, p); err != nil {
		return err
	}
	if d.Attrs.Firmware == lab.Kernel {
		return nil
	}
	c, err := q.monitor(ctx, ds, d.Machine, ds.qmp(d.Machine))
	if err != nil {
		return err
	}
	if c == nil {
		return &provider.Error{Code: provider.Unavailable, Text: "it ended as soon as it had started"}
	}
	defer c.Close()
	actx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	return refusal(d.Machine, d.Attrs.arrange(actx, c))
}

// startsFrom refuses what the machine cannot start from, with the reason.
func (d definition) startsFrom(from string) error {
	if from == fromDisk {
		return nil
	}
	refuse := func(format string, args ...any) error {
		return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf(format, args...)}
	}
	network, ok := cutNetwork(from)
	switch {
	case !ok:
		return refuse("%q is nothing that a machine could start from", from)
	case d.Attrs.Firmware == lab.Kernel:
		return refuse("its firmware is \"kernel\": QEMU loads the kernel, and no firmware asks the network; \"bios\" and \"uefi\" do")
	case !slices.ContainsFunc(d.Attrs.NICs, func(n nic) bool { return n.Network == network && n.Link == lab.Up }):
		return refuse("it has no interface on network %q whose link is up", network)
	}
	return nil
}

// arrange gives the devices of a running machine their places. None may have a place that another has, so all are taken
// away first.
func (a machineAttrs) arrange(ctx context.Context, c *qmp.Client) error {
	at := map[string]string{}
	if len(a.Disks) > 0 {
		at[diskID(0, a.Disks[0])] = fromDisk
	}
	for _, n := range a.NICs {
		at["nic."+n.Network] = fromNetwork + n.Network
	}
	set := func(id string, place int) error {
		return c.Execute(ctx, "qom-set", map[string]any{"path": "/machine/peripheral/" + id, "property": "bootindex", "value": place}, nil)
	}
	for id := range at {
		if err := set(id, -1); err != nil && !errors.As(err, new(*qmp.Error)) {
			return err
		}
	}
	for id, what := range at {
		if i, ok := a.bootIndex(what); ok {
			if err := set(id, i); err != nil {
				return err
			}
		}
	}
	return nil
}
