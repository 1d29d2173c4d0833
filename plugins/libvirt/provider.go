package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/provider"
)

// Create implements provider.Provider.
func (v *virt) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	defer v.begin()()
	return provider.Wrap("create", r.Addr, v.put(ctx, r, p))
}

// put makes of what exists, or does not, what r says.
func (v *virt) put(ctx context.Context, r provider.Resource, p provider.Progress) error {
	if err := ended(ctx); err != nil {
		return err
	}
	switch {
	case r.Adopted && r.Addr.Kind == kindNetwork:
		return v.adoptNetwork(ctx, r)
	case r.Adopted:
		return v.adoptMachine(ctx, r)
	}
	if err := v.room(ctx); err != nil {
		return err
	}
	switch r.Addr.Kind {
	case kindPool:
		return v.putPool(ctx, r)
	case kindImage:
		return v.createImage(ctx, r, p)
	case kindNetwork:
		return v.putNetwork(ctx, r, p)
	case kindDisk:
		return v.putDisk(ctx, r, p)
	case kindMachine:
		return v.putMachine(ctx, r, p)
	case kindGuest:
		return v.putGuest(ctx, r)
	}
	return unknown(r.Addr)
}

// putPool makes the pool of a path, or the one that the target would have.
func (v *virt) putPool(ctx context.Context, r provider.Resource) error {
	var a poolAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	ref := r.Addr.Name
	if a.Path != "" {
		ref = a.Path
	}
	v.forget()
	_, err := v.pool(ctx, ref)
	return err
}

// Update implements provider.Provider.
func (v *virt) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	defer v.begin()()
	return provider.Wrap("update", r.Addr, v.update(ctx, r, p))
}

func (v *virt) update(ctx context.Context, r provider.Resource, p provider.Progress) error {
	switch {
	case r.Adopted && r.Addr.Kind == kindNetwork:
		return v.updateAdoptedNetwork(ctx, r)
	case r.Adopted:
		return v.updateAdoptedMachine(ctx, r, p)
	}
	if r.Addr.Kind == kindMachine {
		there := false
		err := v.host.Ask(ctx, "look for machine "+r.Addr.Name, func(c *libvirt.Libvirt) error {
			d, err := lookMachine(c, r.Lab, r.Addr.Name)
			there = d != nil
			return err
		})
		if err != nil {
			return err
		}
		if !there {
			return &provider.Error{Code: provider.NotFound, Text: "the machine does not exist"}
		}
	}
	return v.put(ctx, r, p)
}

// Delete implements provider.Provider.
func (v *virt) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	end := v.begin()
	err := v.remove(ctx, o, p)
	if last := end(); err == nil && last && o.Addr.Kind != kindGuest {
		err = v.sweep(ctx, o.Lab)
	}
	return provider.Wrap("delete", o.Addr, err)
}

func (v *virt) remove(ctx context.Context, o provider.Observed, p provider.Progress) error {
	err := ended(ctx)
	if err != nil {
		return err
	}
	switch {
	case o.Adopted && o.Addr.Kind == kindNetwork:
		return v.releaseNetwork(ctx, o)
	case o.Adopted:
		return v.releaseMachine(ctx, o, p)
	}
	switch o.Addr.Kind {
	case kindPool, kindImage: // shared with other labs; the last one to leave removes them
	case kindNetwork:
		err = v.leave(ctx, o, func() error { return v.deleteNetwork(ctx, o) })
	case kindDisk:
		err = v.leave(ctx, o, func() error { return v.deleteDisk(ctx, o, p) })
	case kindMachine:
		err = v.deleteMachine(ctx, o, p)
	case kindGuest:
		return v.deleteGuest(ctx, o)
	default:
		err = unknown(o.Addr)
	}
	return err
}

func unknown(a provider.Addr) error {
	return &provider.Error{Addr: a, Code: provider.Internal, Text: "libvirt has no kind " + a.Kind}
}

// begin counts what is under way; the function it returns ends it, and says whether it was the last.
func (v *virt) begin() (end func() (last bool)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.active++
	return func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.active--
		return v.active == 0
	}
}

// sweep removes the images that nobody uses, and the pools that we made and that are empty. labName is whose thing was
// deleted.
func (v *virt) sweep(ctx context.Context, labName string) error {
	v.forget()
	err := v.host.Ask(ctx, "remove images that are used no longer", func(c *libvirt.Libvirt) error { return v.sweepImages(c, labName) })
	if err != nil {
		return err
	}
	return v.host.Ask(ctx, "remove empty storage pools", sweepPools)
}
