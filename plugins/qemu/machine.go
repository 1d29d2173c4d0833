package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// putMachine makes a machine what r says, whether it exists or not.
func (q *qemu) putMachine(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	if err := canSave(a); err != nil {
		return err
	}
	ds := q.dirs(r.Lab)
	if err := ds.make(); err != nil {
		return err
	}
	d := definition{Lab: r.Lab, Target: q.target, Machine: r.Addr.Name, Attrs: a}
	if l, err := ds.loadLabel(d.Machine, d.root()); err == nil { // an unlabelled disk is made from its image
		d.Installs = l.Install != ""
	}
	if err := q.loadKernel(&d); err != nil {
		return err
	}
	if err := os.MkdirAll(ds.machine(d.Machine), 0o700); err != nil {
		return failure.File(err)
	}
	if r.Seed != nil {
		var iso bytes.Buffer
		if err := seediso.Write(&iso, *r.Seed); err != nil {
			return fmt.Errorf("seed of machine %s: %w", d.Machine, err)
		}
		if err := files.Write(ds.seed(d.Machine), iso.Bytes(), 0o600); err != nil {
			return err
		}
	}
	if err := ds.save(d); err != nil {
		return err
	}
	if a.Power == string(lab.Off) {
		if err := q.wake(ctx, d.Machine, ds, p); err != nil {
			return err
		}
		return q.stop(ctx, d.Machine, ds, q.opts.stopAfter(), p)
	}
	return q.bringUp(ctx, d, ds, p)
}

// bringUp makes a process of a definition, or makes the process that there is match it.
func (q *qemu) bringUp(ctx context.Context, d definition, ds dirs, p provider.Progress) error {
	c, err := q.monitor(ctx, ds, d.Machine, ds.qmp(d.Machine))
	if err != nil {
		return err
	}
	if c == nil {
		if err := q.stop(ctx, d.Machine, ds, 0, p); err != nil { // one that cannot be reached any more
			return err
		}
		s, err := ds.loadSaved(d.Machine)
		if err != nil {
			return err
		}
		if s == nil {
			if err := ds.dropSaved(d.Machine); err != nil { // what a save that was cut short has left
				return err
			}
			return q.boot(ctx, d, ds, p)
		}
		if is := s.Attrs; d.Attrs.Power == is.Power {
			is.Protect = d.Attrs.Protect
			if reflect.DeepEqual(is, d.Attrs) {
				return nil
			}
		}
		if err := q.restore(ctx, *s, ds, p); err != nil {
			return err
		}
		return q.bringUp(ctx, d, ds, p)
	}
	defer c.Close()
	actx, cancel := context.WithTimeout(ctx, answerDeadline)
	l, err := ask(actx, c)
	cancel()
	if err != nil {
		return silent(d.Machine, err)
	}
	if l.status == loading { // left by a restore that was cut short; what it loads is still there
		c.Close()
		if err := q.stop(ctx, d.Machine, ds, 0, p); err != nil {
			return err
		}
		return q.bringUp(ctx, d, ds, p)
	}
	if err := forget(ctx, c, d.Machine, ds); err != nil {
		return err
	}
	if needsReboot(l, d) {
		c.Close()
		if err := q.stop(ctx, d.Machine, ds, q.opts.stopAfter(), p); err != nil {
			return err
		}
		return q.boot(ctx, d, ds, p)
	}
	g := &plugger{c: c, ds: ds, l: l, p: p}
	if l.attrs.Power == prelaunch {
		if err := g.links(ctx, d); err != nil {
			return refusal(d.Machine, err)
		}
	}
	if still := l.attrs.Power == string(lab.Suspended); !still && l.attrs.Power != string(lab.On) || still && d.Attrs.Power == string(lab.On) {
		if err := c.Execute(ctx, "cont", nil, nil); err != nil {
			return refusal(d.Machine, err)
		}
	}
	if err := g.replug(ctx, d); err != nil {
		return refusal(d.Machine, err)
	}
	switch lab.Power(d.Attrs.Power) {
	case lab.Suspended:
		return refusal(d.Machine, c.Execute(ctx, "stop", nil, nil))
	case lab.Saved:
		return q.save(ctx, c, d, ds, p)
	}
	return nil
}

// prelaunch is a machine that was started but not let go: its links are yet to be set.
const prelaunch = "prelaunch"

// boot starts a machine; one that is held gets what no command line can say before it runs.
func (q *qemu) boot(ctx context.Context, d definition, ds dirs, p provider.Progress) error {
	if err := q.start(ctx, d, ds, p); err != nil {
		return err
	}
	if !d.held() && d.Attrs.Power == string(lab.On) {
		return nil
	}
	return q.bringUp(ctx, d, ds, p)
}

// needsReboot says whether a running machine differs from its definition in what only a new process can have.
func needsReboot(l live, d definition) bool {
	have, want := l.attrs, d.Attrs
	if len(have.Disks) == 0 || have.Disks[0] != d.root() {
		return true
	}
	for network, mtu := range want.MTU { // a NIC that is yet to be plugged in gets its MTU then
		for _, n := range have.NICs {
			if n.Network == network && have.MTU[network] != mtu {
				return true
			}
		}
	}
	for network := range maps.Keys(have.MTU) {
		for _, n := range want.NICs {
			if n.Network == network && want.MTU[network] == 0 {
				return true
			}
		}
	}
	return have.CPUs != want.CPUs || have.Memory != want.Memory || have.Arch != want.Arch || have.Firmware != want.Firmware || !slices.Equal(have.Boot, want.Boot) || have.Nested != want.Nested ||
		l.kernel != d.Kernel || dead(have.Power)
}

// dead says whether a machine's state is one from which it cannot go on.
func dead(power string) bool {
	return power == "internal-error" || power == "guest-panicked" || power == "shutdown"
}

// deleteMachine ends a machine and removes what it had but for its disks.
func (q *qemu) deleteMachine(ctx context.Context, o provider.Observed, p provider.Progress) error {
	var a machineAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	ds, name := q.dirs(o.Lab), o.Addr.Name
	grace := q.opts.stopAfter()
	if len(a.Disks) < 2 { // its only disk is remade with it, or goes too: there is nothing that a shutdown could save
		grace = 0
	}
	if a.Power == hung {
		if err := q.unhang(ctx, name, ds, p); err != nil {
			return err
		}
	}
	if grace > 0 {
		_ = q.wake(ctx, name, ds, p) // one whose memory cannot be loaded is deleted as it is
	}
	if err := q.stop(ctx, name, ds, grace, p); err != nil {
		return err
	}
	for _, path := range []string{ds.qmp(name), ds.look(name), ds.serial(name)} {
		if err := os.RemoveAll(path); err != nil {
			return failure.File(err)
		}
	}
	ports, _ := filepath.Glob(filepath.Join(ds.run, "net", "*", key(name)))
	for _, path := range ports {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return failure.File(err)
		}
	}
	// The definition goes first: a machine without one is not observed, and its folder is completed or removed later.
	if err := os.RemoveAll(filepath.Join(ds.machine(name), "machine.json")); err != nil {
		return failure.File(err)
	}
	return failure.File(os.RemoveAll(ds.machine(name)))
}

// refusal gives QEMU's refusals a code and the machine's name.
func refusal(machine string, err error) error {
	var r *qmp.Error
	if errors.As(err, &r) {
		return &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("machine %s: %v", machine, err)}
	}
	return err
}

// silent is a machine that stopped answering in the middle.
func silent(machine string, err error) error {
	return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: %v", machine, err)}
}
