package gce

import (
	"context"
	"errors"
	"fmt"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Create implements provider.Provider.
func (g *gce) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	return provider.Wrap("create", r.Addr, failed(g.whose(ctx, r.Lab, g.put(ctx, r, p))))
}

// Update implements provider.Provider: it makes of what exists what r says, which is what Create does, too.
func (g *gce) Update(ctx context.Context, _ provider.Observed, r provider.Resource, p provider.Progress) error {
	if r.Addr.Kind == kindMachine {
		var i api.Instance
		if err := g.client.Get(ctx, g.path(r.Lab, r.Addr), &i); err != nil {
			return provider.Wrap("update", r.Addr, failed(err))
		}
	}
	return provider.Wrap("update", r.Addr, failed(g.whose(ctx, r.Lab, g.put(ctx, r, p))))
}

// put makes a thing that is not there, and what is there what r says.
func (g *gce) put(ctx context.Context, r provider.Resource, p provider.Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if r.Addr.Kind != kindGuest { // that is a part of its machine
		if err := g.note(ctx, r.Lab, r.Addr); err != nil {
			return err
		}
	}
	switch r.Addr.Kind {
	case kindNetwork:
		return g.putNetwork(ctx, r)
	case kindSubnet:
		return g.putSubnet(ctx, r)
	case kindFirewall:
		return g.putFirewall(ctx, r)
	case kindNAT:
		return g.putNAT(ctx, r)
	case kindAddress:
		return g.putAddress(ctx, r)
	case kindZone:
		return g.putZone(ctx, r)
	case kindRecord:
		return g.putRecord(ctx, r)
	case kindDisk:
		return g.putDisk(ctx, r, p)
	case kindMachine:
		return g.putMachine(ctx, r, p)
	case kindRoute:
		return g.putRoute(ctx, r)
	case kindGuest:
		return g.putGuest(ctx, r)
	}
	return unknown(r.Addr)
}

// Delete implements provider.Provider.
func (g *gce) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	return provider.Wrap("delete", o.Addr, failed(g.remove(ctx, o, p)))
}

func (g *gce) remove(ctx context.Context, o provider.Observed, p provider.Progress) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := g.path(o.Lab, o.Addr)
	if at == "" {
		return unknown(o.Addr)
	}
	switch o.Addr.Kind {
	case kindGuest:
		return g.deleteGuest(ctx, o)
	case kindZone, kindRecord:
		return g.removeName(ctx, o)
	}
	mine, err := g.mine(ctx, o.Lab, o.Addr)
	if err != nil {
		return err
	}
	if mine {
		switch o.Addr.Kind {
		case kindDisk:
			err = g.keep(ctx, o, p)
		case kindMachine:
			err = g.unprotect(ctx, at)
		}
		if err == nil {
			err = g.client.Delete(ctx, at)
		}
		if api.Is(err, api.InUse) {
			err = g.users(ctx, o, err)
		}
		if err != nil {
			return err
		}
	}
	return g.journal.remove(o.Lab, o.Addr)
}

// removeName deletes what is in Cloud DNS.
func (g *gce) removeName(ctx context.Context, o provider.Observed) error {
	if g.dns == nil {
		return &provider.Error{Code: provider.Invalid, Text: "dns_endpoint: the target does not say where Cloud DNS is"}
	}
	var err error
	if o.Addr.Kind == kindZone {
		err = g.deleteZone(ctx, o)
	} else {
		err = g.deleteRecord(ctx, o)
	}
	if err != nil {
		return err
	}
	return g.journal.remove(o.Lab, o.Addr)
}

func unknown(a provider.Addr) error {
	return &provider.Error{Addr: a, Code: provider.Internal, Text: "Compute Engine has no kind " + a.Kind}
}

// collection is where things of a kind are, as a path within the project.
func (g *gce) collection(kind string) string {
	switch kind {
	case kindNetwork:
		return global("networks")
	case kindSubnet:
		return g.opts.regional("subnetworks")
	case kindFirewall:
		return global("firewalls")
	case kindNAT:
		return g.opts.regional("routers")
	case kindAddress:
		return g.opts.regional("addresses")
	case kindDisk:
		return g.opts.zonal("disks")
	case kindMachine, kindGuest:
		return g.opts.zonal("instances")
	case kindRoute:
		return global("routes")
	case kindZone, kindRecord:
		return "managedZones" // of Cloud DNS
	}
	return ""
}

// kind is the one that a resource is a thing of: a guest is a part of its machine.
func kindOf(a provider.Addr) string {
	if a.Kind == kindGuest {
		return kindMachine
	}
	return a.Kind
}

// path is where a resource is; "" for one of no kind.
func (g *gce) path(lab string, a provider.Addr) string {
	c := g.collection(a.Kind)
	if c == "" {
		return ""
	}
	return c + "/" + g.owner(lab).name(kindOf(a), a.Name)
}

// link is what other things call a resource.
func (g *gce) link(lab string, a provider.Addr) string { return g.opts.link(g.path(lab, a)) }

// marked is as much of anything as tells whose it is.
type marked struct {
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Labels      map[string]string `json:"labels"`
}

// owned says whether a thing is the owner's, of that kind.
func (m marked) owned(o owner, kind string) bool {
	if kind == kindMachine || kind == kindDisk || kind == kindAddress {
		return o.ownsLabels(m.Labels)
	}
	d, ok := readMark(m.Description)
	return ok && o.owns(d, kind)
}

// mine says whether a resource is there and ours. What is there without our mark is somebody else's.
func (g *gce) mine(ctx context.Context, lab string, a provider.Addr) (bool, error) {
	var m marked
	err := g.client.Get(ctx, g.path(lab, a), &m)
	if api.Is(err, api.NotFound) {
		return false, nil
	}
	return err == nil && m.owned(g.owner(lab), kindOf(a)), err
}

// insert makes a thing; existed says that it was there already, and is ours.
func (g *gce) insert(ctx context.Context, r provider.Resource, body any) (existed bool, err error) {
	err = g.client.Insert(ctx, g.collection(r.Addr.Kind), body)
	if !api.Is(err, api.Exists) {
		return false, err
	}
	mine, err := g.mine(ctx, r.Lab, r.Addr)
	if err == nil && !mine {
		err = &provider.Error{Code: provider.Foreign, Text: fmt.Sprintf("%s is there already, and is not this lab's", g.path(r.Lab, r.Addr))}
	}
	return true, err
}

// fresh does f, and once more if what it had read was changed meanwhile.
func fresh(f func() error) error {
	err := f()
	if api.Is(err, api.Stale) {
		err = f()
	}
	return err
}

// failed gives an error of the API its code.
func failed(err error) error {
	var e *api.Error
	var l *api.LoginError
	switch {
	case errors.As(err, &l):
		return &provider.Error{Code: provider.Denied, Text: l.Error()}
	case !errors.As(err, &e):
		return err
	}
	code, text := provider.Invalid, e.Text
	switch e.Reason {
	case api.NotFound:
		code = provider.NotFound
	case api.Exists:
		code = provider.Foreign
	case api.InUse, api.AddressInUse:
		code = provider.InUse
	case api.NotReady, api.RateLimited, api.Stale:
		code = provider.Busy
	case api.Quota, api.Exhausted:
		code = provider.Full
	case api.Forbidden:
		code = provider.Denied
	case api.Unsupported:
		code = provider.Unsupported
	case api.Backend, api.Unanswered:
		code = provider.Unavailable
	case api.Unreadable:
		code = provider.Internal
	}
	return &provider.Error{Code: code, Text: text}
}
