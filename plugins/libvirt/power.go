package libvirt

import (
	"context"
	"fmt"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// start starts a domain, with not too many others at the same time.
func (v *virt) start(ctx context.Context, d *domainSeen, p provider.Progress) error {
	select {
	case v.starts <- struct{}{}:
	case <-ctx.Done():
		return ended(ctx)
	}
	defer func() { <-v.starts }()
	what, phase := "start domain "+d.dom.Name, "starting"
	if d.state == saved {
		what, phase = "restore domain "+d.dom.Name+" (virsh managedsave-remove gives its saved memory up)", "loading memory"
	}
	p(provider.Step{Phase: phase})
	return v.host.Ask(ctx, what, func(c *libvirt.Libvirt) error {
		if d.state == saved { // by whoever: virsh managedsave does not think of the log
			if err := logGoesOn(c, d.dom); err != nil && !conn.Is(err, libvirt.ErrOperationInvalid) { // nothing is saved any more
				return err
			}
		}
		err := c.DomainCreate(d.dom)
		if conn.Is(err, libvirt.ErrOperationInvalid) { // it runs, by an earlier try whose answer was lost
			if active, aerr := c.DomainIsActive(d.dom); aerr == nil && active == 1 {
				return nil
			}
		}
		return err
	})
}

// pollState is how often a machine that is to power down is looked at.
const pollState = 200 * time.Millisecond

// stop powers a machine down: by itself within grace, else the hard way.
func (v *virt) stop(ctx context.Context, d *domainSeen, grace time.Duration, p provider.Progress) error {
	if !d.active {
		return nil
	}
	if grace > 0 && d.state == suspended { // it could not hear the button
		if err := v.resume(ctx, d); err != nil {
			return err
		}
	}
	if grace > 0 && d.state == on {
		p(provider.Step{Phase: "shutting down"})
		down, err := v.shutDown(ctx, d, grace)
		if err != nil || down {
			return err
		}
	}
	p(provider.Step{Phase: "powering off"})
	err := v.host.Ask(ctx, "power off domain "+d.dom.Name, func(c *libvirt.Libvirt) error {
		err := c.DomainDestroy(d.dom)
		if conn.Is(err, libvirt.ErrOperationInvalid) || gone(err) { // off already
			return nil
		}
		return err
	})
	if err == nil {
		d.active, d.state = false, off
	}
	return err
}

// shutDown asks a machine to power down, and says whether it did in time.
func (v *virt) shutDown(ctx context.Context, d *domainSeen, grace time.Duration) (bool, error) {
	deadline := time.Now().Add(grace)
	// A guest that is just booting does not hear the button: it is pressed again now and then.
	const again = 15 * time.Second
	pressed := time.Time{}
	for {
		var state string
		err := v.host.Ask(ctx, "shut down domain "+d.dom.Name, func(c *libvirt.Libvirt) error {
			s, reason, err := c.DomainGetState(d.dom, 0)
			if err != nil {
				return err
			}
			if state = power(libvirt.DomainState(s), reason); state == on && time.Since(pressed) > again {
				pressed = time.Now()
				err = c.DomainShutdownFlags(d.dom, libvirt.DomainShutdownAcpiPowerBtn)
				if conn.Is(err, libvirt.ErrOperationInvalid) { // it went off in this moment
					err = nil
				}
			}
			return err
		})
		switch {
		case gone(err) || err == nil && (state == off || state == crashed):
			d.active, d.state = false, off
			return true, nil
		case err != nil:
			return false, err
		case time.Now().After(deadline):
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, &provider.Error{Code: provider.CodeOf(ctx.Err()), Text: fmt.Sprintf("gave up waiting for machine %s to shut down", d.mark.Name)}
		case <-time.After(pollState):
		}
	}
}
