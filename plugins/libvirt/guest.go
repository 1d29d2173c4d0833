package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/provider"
)

// putGuest notes what is true inside a machine in the machine's mark.
func (v *virt) putGuest(ctx context.Context, r provider.Resource) error {
	var a guestAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	return v.noteGuest(ctx, r.Lab, r.Addr.Name, &a)
}

func (v *virt) deleteGuest(ctx context.Context, o provider.Observed) error {
	err := v.noteGuest(ctx, o.Lab, o.Addr.Name, nil)
	if provider.CodeOf(err) == provider.NotFound {
		return nil
	}
	return err
}

func (v *virt) noteGuest(ctx context.Context, labName, machine string, a *guestAttrs) error {
	return v.host.Ask(ctx, "note the state of machine "+machine, func(c *libvirt.Libvirt) error {
		d, err := lookMachine(c, labName, machine)
		if err != nil {
			return err
		}
		if d == nil {
			return &provider.Error{Code: provider.NotFound, Text: "machine " + machine + " does not exist"}
		}
		// The persistent definition's mark is the one that counts; the other is brought along.
		if m, ok := domainMark(d.config); ok {
			d.mark = m
		}
		d.mark.Guest = a
		return d.saveMark(c)
	})
}
