package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/golden"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// How long a machine may take whose packages are installed, and what follows that.
const (
	bakeReady = 45 * time.Minute
	bakeClean = 5 * time.Minute
)

// baking is the one machine of a lab of its own, in which packages are installed so that its disk becomes an image.
const baking = "bake"

// bakeRunning makes an image that cannot be built: a machine is started from its base, made by the road that all machines
// are made by, with the packages and nothing else; then it forgets who it was, and its disk is taken.
func (r *road) bakeRunning(ctx context.Context, s image.Store, w golden.Want, p func(string, int64, int64)) (made image.Local, err error) {
	quiet := *r.cli
	quiet.quiet = true
	b := &road{cli: &quiet, flags: r.flags, spec: r.spec, lab: bakery(r.lab, w), home: r.home}
	if err := b.launch(ctx, bakeTarget(r.lab)); err != nil {
		return made, err
	}
	defer b.close()
	held, err := b.lock(ctx, "image build", 0)
	if err != nil {
		return made, fmt.Errorf("another labctl makes such an image already, and there is nothing to wait with: try again when it is done: %v", err)
	}
	defer held.Release()
	sweep := func() error {
		if err := b.bakeApply(context.WithoutCancel(ctx), engine.PlanOptions{Destroy: true}, func(string, int64, int64) {}); err != nil {
			return err
		}
		return b.forget(context.WithoutCancel(ctx), held, &destroyed{})
	}
	if err := b.bakeApply(ctx, engine.PlanOptions{Destroy: true}, p); err != nil { // of one that was interrupted
		return made, err
	}
	defer func() { err = errors.Join(err, sweep()) }()
	o, err := b.planOptions(ctx, planFlags{})
	if err != nil {
		return made, err
	}
	o.Measure = true
	if err := b.bakeApply(ctx, o, p); err != nil {
		return made, err
	}
	p("cleaning", 0, 0)
	if err := b.bakeForget(ctx); err != nil {
		return made, err
	}
	p("stopping", 0, 0)
	b.setPower([]string{baking}, lab.Off)
	if _, report, err := b.runPower(ctx, []string{baking}, false, runFlags{parallel: 1, timeout: bakeClean}); err != nil || report.Err() != nil {
		return made, errors.Join(err, report.Err())
	}
	disk, err := b.bakeDisk(ctx)
	if err != nil {
		return made, err
	}
	return s.Adopt(ctx, w.Base, w.Bake, disk, p)
}

// bakery is the lab of one machine. Its disk is as large as the smallest that will be made from it.
func bakery(l lab.Lab, w golden.Want) lab.Lab {
	size := lab.Bytes(0)
	for _, name := range w.Machines {
		if m, _ := l.Machine(name); size == 0 || m.Disks[0].Size < size {
			size = m.Disks[0].Size
		}
	}
	firmware := lab.BIOS
	switch {
	case w.Base.Kernel:
		firmware = lab.Kernel
	case w.Base.Arch == lab.ARM64:
		firmware = lab.UEFI
	}
	name := "bake-" + w.Image().Baked
	return lab.Complete(lab.Lab{
		Name: name, Domain: name + ".lab", Target: "local", Images: []lab.Image{w.Base},
		Networks: []lab.Network{{Name: "out", Uplink: true, MTU: 1500}},
		Machines: []lab.Machine{{
			Name: baking, CPUs: 2, Memory: lab.GiB, Arch: w.Base.Arch, Firmware: firmware, Image: w.Base.Name, Power: lab.On,
			Disks: []lab.Disk{{Name: "root", Size: size}}, NICs: []lab.NIC{{Network: "out", Link: lab.Up}},
			Guest: lab.Guest{User: guest.Account, Packages: w.Bake.Packages, Sources: w.Bake.Sources}, Ready: lab.Duration(bakeReady),
		}},
	})
}

// bakeTarget is QEMU on this host: as a target of the lab says, or by itself.
func bakeTarget(l lab.Lab) lab.Target {
	for _, t := range l.Targets {
		if t.Provider == "qemu" && !strings.Contains(string(t.Options), `"forward"`) { // whose ports are the lab's
			return lab.Target{Name: "local", Provider: t.Provider, Options: t.Options}
		}
	}
	return lab.Target{Name: "local", Provider: "qemu"}
}

// bakeApply plans and makes it so.
func (r *road) bakeApply(ctx context.Context, o engine.PlanOptions, progress func(string, int64, int64)) error {
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil || p.Empty() {
		return err
	}
	ao := engine.ApplyOptions{
		Options: apply.Options{Parallel: 2, Stop: r.signals.graceful(), Events: func(e apply.Event) {
			if e.Step != nil {
				progress(e.Step.Phase, e.Step.Done, e.Step.Total)
			}
		}},
		Seed: (&lastMoment{road: r}).seed, Again: o,
	}
	report, err := r.engine.Apply(ctx, r.lab, p, ao)
	if err != nil {
		return err
	}
	return verdict(report)
}

// forgetting makes the machine one that has never been anybody: what cloud-init, labctl and its own first boot have left.
// Of labctl's program only what it knows of apt's sources stays, so that it need not read these again.
const forgetting = `set -eu
apt-get clean
rm -f /etc/ssh/ssh_host_*_key* /etc/netplan/50-cloud-init.yaml /etc/systemd/network/10-cloud-init-* /etc/labctl/guest.json
python3 - <<'END'
import json, os
path = "/var/lib/labctl/memory.json"
try:
    with open(path) as f:
        kept = {"sources": json.load(f).get("sources", {})}
except (OSError, ValueError):
    kept = None
for name in os.listdir("/var/lib/labctl") if os.path.isdir("/var/lib/labctl") else []:
    os.remove(os.path.join("/var/lib/labctl", name))
if kept and kept["sources"]:
    with open(path, "w") as f:
        json.dump(kept, f)
END
cloud-init clean --logs --seed >/dev/null 2>&1 || rm -rf /var/lib/cloud
: >/etc/machine-id
rm -f /var/lib/dbus/machine-id /var/lib/systemd/random-seed
rm -rf /var/log/journal/* /tmp/* /var/tmp/*
fstrim -a >/dev/null 2>&1 || true
sync
`

func (r *road) bakeForget(ctx context.Context) error {
	s, err := r.reach(ctx, baking, bakeClean, true)
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(ctx, bakeClean)
	defer cancel()
	out, errOut, exit, err := s.Output(ctx, "sudo sh", strings.NewReader(forgetting))
	if err != nil {
		return err
	}
	if exit != 0 {
		return fmt.Errorf("cannot clean the image: exit status %d: %s", exit, bytes.TrimSpace(append(out, errOut...)))
	}
	return nil
}

// bakeDisk is the file of the machine's root disk.
func (r *road) bakeDisk(ctx context.Context) (string, error) {
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return "", err
	}
	for _, o := range observed {
		if k, _ := r.engine.Description.Kind(o.Addr.Kind); k.Data && o.Machine == baking && o.Outputs["path"] != "" {
			return o.Outputs["path"], nil
		}
	}
	return "", fmt.Errorf("the provider %s does not say where the disk of machine %s is", r.engine.Description.Name, baking)
}
