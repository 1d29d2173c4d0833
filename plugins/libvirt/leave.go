package libvirt

import (
	"context"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// With the last object of a lab its snapshots go: before it does, so that whoever is cut short there still sees that
// something is to be deleted. The objects of a lab that has snapshots leave one after the other, else the last two could
// each take the other for the last.

// leave deletes o by remove, and before that the lab's snapshots if nothing but o is left of the lab.
func (v *virt) leave(ctx context.Context, o provider.Observed, remove func() error) error {
	has := false
	err := v.host.Ask(ctx, "look for snapshots", func(c *libvirt.Libvirt) error {
		kept, err := keptVolumes(c, o.Lab)
		has = len(kept) > 0
		return err
	})
	if err != nil {
		return err
	}
	if !has {
		return remove()
	}
	v.leaving.Lock()
	defer v.leaving.Unlock()
	last, err := v.last(ctx, o)
	if err != nil {
		return err
	}
	if last {
		err := v.host.Ask(ctx, "remove the snapshots of lab "+o.Lab, func(c *libvirt.Libvirt) error {
			return removeKept(c, o.Lab, func(string) bool { return true })
		})
		if err != nil {
			return err
		}
	}
	return remove()
}

// last says whether nothing is left of a lab but o, and its inside.
func (v *virt) last(ctx context.Context, o provider.Observed) (bool, error) {
	found, err := v.observe(ctx, lab.Lab{Name: o.Lab})
	if err != nil {
		return false, err
	}
	for _, x := range found {
		inside := x.Addr.Kind == kindGuest && o.Addr.Kind == kindMachine && x.Machine == o.Machine
		if !x.Shared && x.Addr != o.Addr && !inside {
			return false, nil
		}
	}
	return true, nil
}
