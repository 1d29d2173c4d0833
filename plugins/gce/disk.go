package gce

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// putDisk makes a disk, or makes the one that there is what r says, as far as that loses no data.
func (g *gce) putDisk(ctx context.Context, r provider.Resource, p provider.Progress) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	machine, disk, err := r.Addr.Disk()
	if err != nil {
		return err
	}
	m := g.owner(r.Lab).mark(kindDisk, r.Addr.Name)
	m.Image = a.Image
	at, gib := g.path(r.Lab, r.Addr), int64(a.Size/lab.GiB)
	want := api.Disk{
		Name: api.Base(at), Description: m.description(), Size: gib, Type: g.opts.link(g.opts.zonal("diskTypes", a.Type)), Image: a.Image,
		Labels: g.owner(r.Lab).labels(machine, disk),
	}
	if a.Image != "" {
		// Interfaces have the whole subnet as their network, and not one address: routers are neighbours.
		want.Features = []api.Feature{{Type: "MULTI_IP_SUBNET"}}
	}
	if a.Protect {
		want.Labels[labelProtect] = "true"
	}
	p(provider.Step{Phase: "making the disk"})
	existed, err := g.insert(ctx, r, want)
	if err != nil || !existed {
		return err
	}
	return fresh(func() error { return g.fitDisk(ctx, at, want, a) })
}

// fitDisk changes a disk that is there.
func (g *gce) fitDisk(ctx context.Context, at string, want api.Disk, a diskAttrs) error {
	var now api.Disk
	if err := g.client.Get(ctx, at, &now); err != nil {
		return err
	}
	m, _ := readMark(now.Description)
	switch {
	case m.Image != a.Image:
		return &provider.Error{Code: provider.Invalid, Text: "the disk is made from another image; only a reinstall changes that"}
	case now.Size > want.Size:
		return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("a disk cannot shrink from %dGiB to %dGiB", now.Size, want.Size)}
	case now.Size < want.Size:
		if err := g.client.Change(ctx, http.MethodPost, at+"/resize", nil, map[string]string{"sizeGb": fmt.Sprint(want.Size)}); err != nil {
			return err
		}
	}
	if (now.Labels[labelProtect] == "true") == a.Protect {
		return nil
	}
	return g.client.Change(ctx, http.MethodPost, at+"/setLabels", nil, api.Labels{Labels: want.Labels, Print: now.Print})
}

// keep takes a snapshot of a protected disk that is about to be deleted.
func (g *gce) keep(ctx context.Context, o provider.Observed, p provider.Progress) error {
	if o.Attrs["protect"] != true {
		return nil
	}
	machine, disk, err := o.Addr.Disk()
	if err != nil {
		return err
	}
	at := g.path(o.Lab, o.Addr)
	var now api.Disk
	if err := g.client.Get(ctx, at, &now); err != nil {
		return err
	}
	own := g.owner(o.Lab)
	labels := own.labels(machine, disk)
	labels[labelKept] = "true"
	// One for each disk that there ever was, however often this is tried: its number is nobody else's.
	name := own.name("snapshot", o.Addr.Name+" "+now.ID)
	p(provider.Step{Phase: "keeping its data"})
	err = g.client.Change(ctx, http.MethodPost, at+"/createSnapshot", nil, api.Snapshot{
		Name: name, Labels: labels, Description: "kept by labctl at " + time.Now().UTC().Format(time.RFC3339) + ": the disk was protected",
	})
	if err != nil && !api.Is(err, api.Exists) {
		return err
	}
	var kept api.Snapshot
	if err := g.client.Get(ctx, global("snapshots", name), &kept); err != nil {
		return err
	}
	size := lab.Bytes(kept.DiskSize) * lab.GiB
	p(provider.Step{Phase: "keeping its data", Note: fmt.Sprintf("it was protected, so its data is kept: snapshot %s of project %s (of %s)", name, g.opts.Project, size.Rough())})
	return nil
}
