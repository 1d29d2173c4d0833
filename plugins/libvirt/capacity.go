package libvirt

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// Capacity implements provider.Measurer: what the host of libvirtd has, all domains that run there, whoever's, and the
// pools of the lab.
func (v *virt) Capacity(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	c, err := v.measure(ctx, l)
	return c, provider.Wrap("measure the host", provider.Addr{}, err)
}

func (v *virt) measure(ctx context.Context, l lab.Lab) (provider.Capacity, error) {
	var out provider.Capacity
	if err := ended(ctx); err != nil {
		return out, err
	}
	w, err := v.look(ctx, lab.Lab{Name: l.Name, Images: l.Images})
	if err != nil {
		return out, err
	}
	missing := false
	err = v.host.Ask(ctx, "measure the host", func(c *libvirt.Libvirt) error {
		out = provider.Capacity{Limits: provider.Limits{Judge: provider.Judgement(v.opts.Capacity), Overcommit: v.opts.Overcommit}}
		missing = false
		if err := measureNode(c, &out); err != nil {
			return err
		}
		rss, err := residents(c)
		if err != nil {
			return err
		}
		for _, d := range w.domains {
			if d.active {
				out.Uses = append(out.Uses, useOf(d, l, rss[d.dom.UUID]))
			}
		}
		for _, ref := range diskPools(l) {
			s, err := measurePool(c, w.pool(ref.ref))
			if err != nil {
				return err
			}
			missing = missing || s == nil
			if s != nil {
				s.Pools = ref.names
				out.Stores = append(out.Stores, *s)
			}
		}
		return nil
	})
	if err == nil && missing {
		v.unmade(ctx, l, w, &out)
	}
	if err == nil && !v.host.URI().Local() && out.Host == "" {
		out.Host = v.opts.URI
	}
	return out, err
}

// measureNode asks for the host itself. A libvirt that does not tell (its test driver) leaves what it does not tell
// unknown.
func measureNode(c *libvirt.Libvirt, out *provider.Capacity) error {
	_, kib, cpus, _, _, _, _, _, err := c.NodeGetInfo()
	if err != nil {
		return err
	}
	out.CPUs, out.Memory = int(cpus), lab.Bytes(kib)*lab.KiB
	const all = -1 // NUMA cells
	_, n, err := c.NodeGetMemoryStats(0, all, 0)
	if err != nil {
		return unsupported(err, out)
	}
	stats, _, err := c.NodeGetMemoryStats(n, all, 0)
	if err != nil {
		return unsupported(err, out)
	}
	for _, s := range stats {
		switch s.Field {
		case "total":
			out.Memory = lab.Bytes(s.Value) * lab.KiB
		case "free", "buffers", "cached":
			out.Free += lab.Bytes(s.Value) * lab.KiB
		}
	}
	out.Free = min(out.Free, out.Memory)
	return nil
}

// unsupported forgets the memory of a host whose libvirt cannot tell what is free.
func unsupported(err error, out *provider.Capacity) error {
	if conn.Is(err, libvirt.ErrNoSupport) {
		out.Memory, out.Free = 0, 0
		return nil
	}
	return err
}

// residents are what the host has given to each domain that runs. A driver that does not tell is no error.
func residents(c *libvirt.Libvirt) (map[libvirt.UUID]lab.Bytes, error) {
	records, err := c.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsBalloon), uint32(libvirt.ConnectGetAllDomainsStatsActive))
	if conn.Is(err, libvirt.ErrNoSupport) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rss := map[libvirt.UUID]lab.Bytes{}
	for _, r := range records {
		for _, p := range r.Params {
			if n, ok := number(p.Value.I); ok && p.Field == "balloon.rss" && n > 0 {
				rss[r.Dom.UUID] = lab.Bytes(n) * lab.KiB
			}
		}
	}
	return rss, nil
}

// useOf is what a domain that runs takes.
func useOf(d *domainSeen, l lab.Lab, rss lab.Bytes) provider.Use {
	u := provider.Use{Name: d.live.Name}
	_, u.CPUs = cpusOf(d.live)
	_, u.Memory = memoryOf(d.live)
	u.Resident = min(rss, u.Memory)
	if d.mark.Lab != "" {
		u.Lab, u.Target, u.Machine = d.mark.Lab, d.mark.Target, d.mark.Name
	}
	if u.Lab == l.Name { // whatever the target was called that made it: on a host there is one lab of a name
		u.Target = l.Target
	}
	return u
}

// poolNames are the lab's names of one pool on the host.
type poolNames struct {
	ref   string
	names []string
}

// diskPools are the pools that the lab's disks may be in.
func diskPools(l lab.Lab) []poolNames {
	all := []poolNames{{poolRef(l, diskPool), []string{"", diskPool}}}
	for _, p := range l.Pools {
		if p.Name != diskPool {
			all = append(all, poolNames{poolRef(l, p.Name), []string{p.Name}})
		}
	}
	return all
}

// measurePool asks for a pool, and for what the volumes in it may still grow by; nil if there is none that runs.
func measurePool(c *libvirt.Libvirt, p *poolSeen) (*provider.Store, error) {
	if p == nil || !p.active {
		return nil, nil
	}
	pool := libvirt.StoragePool{Name: p.name, UUID: p.uuid}
	_, size, _, free, err := c.StoragePoolGetInfo(pool)
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// Pools of one file system tell the same numbers, and nothing else tells them from others.
	s := &provider.Store{Path: p.path, Size: lab.Bytes(size), Free: lab.Bytes(free), Device: fmt.Sprintf("%d/%d", size, free)}
	vols, _, err := c.StoragePoolListAllVolumes(pool, 1, 0)
	if err != nil {
		return nil, err
	}
	// Images stay what they are.
	vols = slices.DeleteFunc(vols, func(vol libvirt.StorageVol) bool { return strings.HasPrefix(vol.Name, imagePrefix) })
	grow := make([]lab.Bytes, len(vols))
	err = fan(len(vols), func(i int) error {
		_, capacity, allocation, err := c.StorageVolGetInfo(vols[i])
		if fileGone(err) {
			return nil
		}
		grow[i] = lab.Bytes(capacity - min(capacity, allocation))
		return err
	})
	for _, g := range grow {
		s.Promised += g
	}
	return s, err
}

// unmade measures the file system that pools will be on which do not exist yet: that of pools beside them, or what the
// host itself tells.
func (v *virt) unmade(ctx context.Context, l lab.Lab, w *world, out *provider.Capacity) {
	var where *provider.Store
	for _, ref := range diskPools(l) {
		if p := w.pool(ref.ref); p != nil && p.active {
			continue
		}
		_, dir := v.hostPool(ref.ref)
		if path.Dir(dir) != v.opts.PoolPath {
			continue // of a folder elsewhere nothing is known
		}
		if where == nil {
			f, err := v.askFacts(ctx)
			if err != nil || f.folder == "" {
				return
			}
			where = &provider.Store{Path: v.opts.PoolPath, Free: f.space, Device: f.folder}
		}
		s := *where
		s.Pools, s.Path = ref.names, dir
		out.Stores = append(out.Stores, s)
	}
}
