package gce

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// startup is run by Google's guest agent at each boot.
//
//go:embed startup.sh
var startup string

// maxMetadata is how long a value may be, in bytes.
const maxMetadata = 256 << 10

// putMachine makes a machine what r says, whether it exists or not.
func (g *gce) putMachine(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	want, err := g.instance(ctx, r, a)
	if err != nil {
		return err
	}
	p(provider.Step{Phase: "making the instance"})
	existed, err := g.insert(ctx, r, want)
	if err != nil {
		return err
	}
	f := fitting{g: g, at: g.path(r.Lab, r.Addr), lab: r.Lab, machine: r.Addr.Name, want: want, attrs: a, progress: p}
	if !existed && a.Power == string(lab.On) {
		return nil
	}
	return f.fit(ctx)
}

// instance is the request that makes a machine.
func (g *gce) instance(ctx context.Context, r provider.Resource, a machineAttrs) (api.Instance, error) {
	o := g.opts
	i := api.Instance{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), MachineType: o.link(o.zonal("machineTypes", a.Type)), Forwards: a.Forwards,
		Protected: a.Protect, Labels: g.owner(r.Lab).labels(r.Addr.Name, ""), Metadata: &api.Metadata{},
	}
	for n, d := range a.Disks {
		i.Disks = append(i.Disks, api.Attached{Source: g.link(r.Lab, addr(kindDisk, r.Addr.Name+"/"+d)), Device: d, Boot: n == 0})
	}
	for n, x := range a.NICs {
		nic := api.NIC{Subnet: g.link(r.Lab, addr(kindSubnet, x.Network)), Address: x.Address}
		if n == 0 && a.External != "" {
			access, err := g.access(ctx, r.Lab, a.External)
			if err != nil {
				return i, err
			}
			nic.Access = []api.AccessConfig{access}
		}
		i.NICs = append(i.NICs, nic)
	}
	if a.GPUs != "" {
		var kind string
		var count int
		if _, err := fmt.Sscanf(a.GPUs, "%s x %d", &kind, &count); err != nil {
			return i, &provider.Error{Code: provider.Internal, Text: "gpus " + a.GPUs + ": " + err.Error()}
		}
		i.Accelerators = []api.Accelerator{{Type: o.link(o.zonal("acceleratorTypes", kind)), Count: count}}
	}
	i.Scheduling = scheduling(a)
	if a.Nested {
		i.Advanced = &api.Advanced{Nested: true}
	}
	for _, k := range slices.Sorted(maps.Keys(a.Metadata)) {
		i.Metadata.Items = append(i.Metadata.Items, api.Item{Key: k, Value: a.Metadata[k]})
	}
	if r.Seed != nil {
		if n := len(r.Seed.UserData); n > maxMetadata {
			return i, &provider.Error{Code: provider.Full, Text: fmt.Sprintf("its seed is %d bytes; an instance's metadata holds %d in a value", n, maxMetadata)}
		}
		i.Metadata.Items = append(i.Metadata.Items, api.Item{Key: metaSeed, Value: string(r.Seed.UserData)}, api.Item{Key: metaStartup, Value: startup})
	}
	return i, nil
}

// access is what gives an interface a reserved address.
func (g *gce) access(ctx context.Context, lab, name string) (api.AccessConfig, error) {
	var a api.Address
	if err := g.client.Get(ctx, g.path(lab, addr(kindAddress, name)), &a); err != nil {
		return api.AccessConfig{}, err
	}
	return api.AccessConfig{Name: "external", Type: "ONE_TO_ONE_NAT", Address: a.Address, Tier: tier}, nil
}

// fitting makes an instance that exists what it should be.
type fitting struct {
	g            *gce
	at           string
	lab, machine string
	want         api.Instance
	attrs        machineAttrs
	progress     provider.Progress
	now          api.Instance
}

func (f *fitting) look(ctx context.Context) error {
	f.now = api.Instance{}
	return f.g.client.Get(ctx, f.at, &f.now)
}

func (f *fitting) fit(ctx context.Context) error {
	if err := f.look(ctx); err != nil {
		return err
	}
	if f.now.Protected != f.want.Protected {
		if err := f.g.setProtected(ctx, f.at, f.want.Protected); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{f.metadata, f.disks, f.external, f.machineType, f.ttl, f.power} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// metadata sets what is labctl's own and no seed: those are for the first boot.
func (f *fitting) metadata(ctx context.Context) error {
	return f.g.retell(ctx, f.lab, addr(kindMachine, f.machine), func(items []api.Item) []api.Item {
		for _, k := range slices.Sorted(maps.Keys(f.attrs.Metadata)) {
			items = tell(items, k, f.attrs.Metadata[k])
		}
		return items
	})
}

// disks plugs data disks in and out.
func (f *fitting) disks(ctx context.Context) error {
	device := func(all []api.Attached, d string) bool {
		return slices.ContainsFunc(all, func(x api.Attached) bool { return x.Device == d })
	}
	for _, d := range f.now.Disks {
		if !device(f.want.Disks, d.Device) {
			if err := f.g.client.Change(ctx, http.MethodPost, f.at+"/detachDisk", url.Values{"deviceName": {d.Device}}, nil); err != nil {
				return err
			}
		}
	}
	for _, d := range f.want.Disks {
		if !device(f.now.Disks, d.Device) {
			if err := f.g.client.Change(ctx, http.MethodPost, f.at+"/attachDisk", nil, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// external gives nic0 the address that it should have outside, or takes it.
func (f *fitting) external(ctx context.Context) error {
	if len(f.now.NICs) == 0 || len(f.want.NICs) == 0 {
		return nil
	}
	now, want := f.now.NICs[0], f.want.NICs[0].Access
	if len(now.Access) > 0 && (len(want) == 0 || now.Access[0].Address != want[0].Address) {
		q := url.Values{"networkInterface": {now.Name}, "accessConfig": {now.Access[0].Name}}
		if err := f.g.client.Change(ctx, http.MethodPost, f.at+"/deleteAccessConfig", q, nil); err != nil {
			return err
		}
		now.Access = nil
	}
	if len(now.Access) == 0 && len(want) > 0 {
		return f.g.client.Change(ctx, http.MethodPost, f.at+"/addAccessConfig", url.Values{"networkInterface": {now.Name}}, want[0])
	}
	return nil
}

// machineType changes the type, for which the instance is stopped.
func (f *fitting) machineType(ctx context.Context) error {
	if api.Base(f.now.MachineType) == f.attrs.Type {
		return nil
	}
	if err := f.goTo(ctx, lab.Off); err != nil {
		return err
	}
	return f.g.client.Change(ctx, http.MethodPost, f.at+"/setMachineType", nil, map[string]string{"machineType": "zones/" + f.g.opts.Zone + "/machineTypes/" + f.attrs.Type})
}

func (f *fitting) power(ctx context.Context) error { return f.goTo(ctx, lab.Power(f.attrs.Power)) }

// goTo brings the instance to a power state. Only what runs can be suspended, and only what is off or suspended started.
func (f *fitting) goTo(ctx context.Context, want lab.Power) error {
	now := powerOf(f.now.Status)
	if now == want {
		return nil
	}
	do := func(verb, phase string) error {
		f.progress(provider.Step{Phase: phase})
		return f.g.client.Change(ctx, http.MethodPost, f.at+"/"+verb, nil, nil)
	}
	var err error
	if now != lab.On { // what is suspended is woken before it is stopped: else what it was doing is lost
		if now == lab.Saved {
			err = do("resume", "resuming")
		} else {
			err = do("start", "starting")
		}
	}
	if err == nil && want == lab.Off {
		err = do("stop", "shutting down")
	}
	if err == nil && want == lab.Saved {
		err = do("suspend", "saving its memory")
	}
	if err != nil {
		return err
	}
	return f.look(ctx)
}

// powerOf is the power that a status of an instance means: https://cloud.google.com/compute/docs/instances/instance-lifecycle.
func powerOf(status string) lab.Power {
	switch status {
	case "STOPPING", "STOPPED", "TERMINATED", "PENDING_STOP":
		return lab.Off
	case "SUSPENDING", "SUSPENDED":
		return lab.Saved
	}
	return lab.On
}

func (g *gce) setProtected(ctx context.Context, at string, yes bool) error {
	return g.client.Change(ctx, http.MethodPost, at+"/setDeletionProtection", url.Values{"deletionProtection": {fmt.Sprint(yes)}}, nil)
}

// unprotect lets an instance be deleted: whether that is wanted was asked before.
func (g *gce) unprotect(ctx context.Context, at string) error {
	var i api.Instance
	if err := g.client.Get(ctx, at, &i); err != nil || !i.Protected {
		return err
	}
	return g.setProtected(ctx, at, false)
}
