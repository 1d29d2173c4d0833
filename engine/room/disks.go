package room

import (
	"cmp"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// device is what shares its space: a file system.
type device struct {
	stores   []provider.Store
	free     lab.Bytes
	promised lab.Bytes // to disks that are there
	disks    []Disk    // that are made on it
}

// disks compares, device by device: what disks take at once must be there; what they may grow to should be.
func (j *judge) disks() {
	for _, d := range j.devices() {
		if len(d.disks) == 0 {
			continue
		}
		j.v.Has.Disk += d.free
		var once, later lab.Bytes
		for _, x := range d.disks {
			later += x.Size
			if x.Root {
				once += min(x.Size, First)
			}
		}
		switch {
		case once > d.free:
			j.problem("disk", true, j.tooMuchDisk(d, once))
		case later+d.promised > d.free:
			j.problem("disk", false, j.promisedDisk(d, later))
		}
	}
}

// devices are those that disks are made on, by path.
func (j *judge) devices() []*device {
	var all []*device
	for _, s := range j.Capacity.Stores {
		i := slices.IndexFunc(all, func(d *device) bool { return d.stores[0].Device == s.Device })
		if i < 0 {
			all = append(all, &device{free: s.Free})
			i = len(all) - 1
		}
		d := all[i]
		d.stores, d.promised, d.free = append(d.stores, s), d.promised+s.Promised, min(d.free, s.Free)
		for _, x := range j.Disks {
			if slices.Contains(s.Pools, x.Pool) {
				d.disks = append(d.disks, x)
			}
		}
	}
	slices.SortFunc(all, func(a, b *device) int { return cmp.Compare(a.stores[0].Path, b.stores[0].Path) })
	return all
}
