package libvirt

import (
	"context"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// halt makes a machine that runs, or stands still in memory, stand still as it should.
func (v *virt) halt(ctx context.Context, d *domainSeen, want string, p provider.Progress) error {
	switch want {
	case suspended:
		return v.host.Ask(ctx, "suspend domain "+d.dom.Name, func(c *libvirt.Libvirt) error {
			if s, reason, err := c.DomainGetState(d.dom, 0); err != nil || power(libvirt.DomainState(s), reason) == suspended {
				return err
			}
			return c.DomainSuspend(d.dom)
		})
	case saved:
		p(provider.Step{Phase: "saving memory"})
		return v.host.Ask(ctx, "save domain "+d.dom.Name, func(c *libvirt.Libvirt) error { return save(c, d.dom) })
	}
	return nil
}

// save writes a machine's memory to the host's disk and ends it; again is no error.
func save(c *libvirt.Libvirt, dom libvirt.Domain) error {
	err := c.DomainManagedSave(dom, 0)
	if conn.Is(err, libvirt.ErrOperationInvalid) { // it does not run: perhaps by an earlier try whose answer was lost
		if has, herr := c.DomainHasManagedSaveImage(dom, 0); herr == nil && has == 1 {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return logGoesOn(c, dom)
}

// logGoesOn lets a saved machine's console log go on where it was, for it will still be the same start.
func logGoesOn(c *libvirt.Libvirt, dom libvirt.Domain) error {
	text, err := c.DomainManagedSaveGetXMLDesc(dom, 0)
	if err != nil {
		return err
	}
	log, rest, ok := strings.Cut(text, "append='off'")
	if !ok {
		return nil
	}
	return c.DomainManagedSaveDefineXML(dom, libvirt.OptString{log + "append='on'" + rest}, 0)
}

// resume lets a suspended machine go on.
func (v *virt) resume(ctx context.Context, d *domainSeen) error {
	err := v.host.Ask(ctx, "resume domain "+d.dom.Name, func(c *libvirt.Libvirt) error { return c.DomainResume(d.dom) })
	if err == nil {
		d.state = on
	}
	return err
}

// wake lets a machine go on that is saved, so that it can shut down in order; any other is left as it is. One that runs
// forgets what was saved of it.
func (v *virt) wake(ctx context.Context, d *domainSeen, p provider.Progress) error {
	if !d.kept {
		return nil
	}
	if d.state == saved {
		if err := v.start(ctx, d, p); err != nil {
			return err
		}
	}
	return v.host.Ask(ctx, "look at domain "+d.dom.Name, func(c *libvirt.Libvirt) error {
		if err := forgetSaved(c, d.dom); err != nil {
			return err
		}
		s, reason, err := c.DomainGetState(d.dom, 0)
		if err == nil {
			d.settle(power(libvirt.DomainState(s), reason), false)
		}
		return err
	})
}

// wakeMachine is wake by a machine's name; one that is not there stays so.
func (v *virt) wakeMachine(ctx context.Context, labName, machine string, p provider.Progress) error {
	var d *domainSeen
	err := v.host.Ask(ctx, "look for machine "+machine, func(c *libvirt.Libvirt) (err error) {
		d, err = lookMachine(c, labName, machine)
		return err
	})
	if err != nil || d == nil || d.state != saved {
		return err
	}
	return v.wake(ctx, d, p)
}
