package libvirt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// The pools of a lab that names none, by the spec's names, and how the names of pools that we make begin.
const (
	imagePool  = "images"
	diskPool   = "disks"
	poolPrefix = "labctl-"
)

// poolOf is the pool of a disk by the spec's name.
func poolOf(d lab.Disk) string {
	if d.Pool == "" {
		return diskPool
	}
	return d.Pool
}

// poolPath is the path that the lab gives a pool; "" leaves it to the target.
func poolPath(l lab.Lab, name string) string {
	for _, p := range l.Pools {
		if p.Name == name && p.Path != "" {
			return path.Clean(p.Path)
		}
	}
	return ""
}

// poolRef is how a pool is found on a host: by its path where the lab gives one, whatever the host calls it, else by
// the spec's name.
func poolRef(l lab.Lab, name string) string {
	if p := poolPath(l, name); p != "" {
		return p
	}
	return name
}

// poolAt is a pool on the host.
type poolAt struct {
	pool libvirt.StoragePool
	path string
}

// hostPool is what we would call the pool of a reference, and where it would be.
func (v *virt) hostPool(ref string) (name, dir string) {
	if !path.IsAbs(ref) {
		return poolPrefix + ref, path.Join(v.opts.PoolPath, ref)
	}
	h := sha256.Sum256([]byte("pool\x00" + ref))
	return poolPrefix + path.Base(ref) + "-" + hex.EncodeToString(h[:3]), ref
}

// pool is the pool that a reference means. One that is missing is made, one that is stopped is started: pools are
// shared, and another lab that was the last in it may just have removed it.
func (v *virt) pool(ctx context.Context, ref string) (*poolAt, error) {
	v.mu.Lock()
	p := v.pools[ref]
	v.mu.Unlock()
	if p != nil {
		return p, nil
	}
	v.making.Lock() // once is enough
	defer v.making.Unlock()
	name, dir := v.hostPool(ref)
	err := v.host.Ask(ctx, "prepare storage pool "+name, func(c *libvirt.Libvirt) (err error) {
		p, err = preparePool(c, name, dir, path.IsAbs(ref))
		return err
	})
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.pools[ref] = p
	return p, nil
}

// preparePool finds a pool by its path or its name, makes it if need be, and sees to it that it runs.
func preparePool(c *libvirt.Libvirt, name, dir string, byPath bool) (*poolAt, error) {
	pool, err := c.StoragePoolLookupByTargetPath(dir)
	if err != nil && !byPath {
		pool, err = c.StoragePoolLookupByName(name)
	}
	if conn.Is(err, libvirt.ErrNoStoragePool) {
		pool, err = makePool(c, name, dir)
	}
	if err != nil {
		return nil, err
	}
	s, err := lookPool(c, pool)
	if err != nil {
		return nil, err
	}
	active, err := c.StoragePoolIsActive(pool)
	if err != nil {
		return nil, err
	}
	if s.path == "" {
		return nil, &provider.Error{Code: provider.Foreign, Text: "storage pool " + pool.Name + " is not a folder"}
	}
	if active == 0 {
		for _, step := range []func() error{func() error { return c.StoragePoolBuild(pool, 0) }, func() error { return c.StoragePoolCreate(pool, 0) }} {
			if err := step(); err != nil && !conn.Is(err, libvirt.ErrOperationInvalid) { // somebody else has just started it
				return nil, err
			}
		}
	}
	return &poolAt{pool: pool, path: s.path}, nil
}

// makePool defines a pool. Its UUID says that it is ours to remove.
func makePool(c *libvirt.Libvirt, name, dir string) (libvirt.StoragePool, error) {
	x := libvirtxml.StoragePool{
		Type: "dir", Name: name, UUID: uuidText(uuid(kindPool, "", name)),
		Target: &libvirtxml.StoragePoolTarget{Path: dir, Permissions: &libvirtxml.StoragePoolTargetPermissions{Mode: "0711"}}, // QEMU is another user
	}
	text, err := x.Marshal()
	if err != nil {
		return libvirt.StoragePool{}, err
	}
	pool, err := c.StoragePoolDefineXML(text, 0)
	if err != nil {
		if other, lerr := c.StoragePoolLookupByName(name); lerr == nil { // made in this very moment
			return other, nil
		}
		return pool, err
	}
	return pool, c.StoragePoolSetAutostart(pool, 1)
}

// forget drops what is remembered of pools, because it has turned out wrong.
func (v *virt) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.pools)
}

// inPool does something in a pool, and again if the pool has gone meanwhile, as the last of another lab takes it along.
func (v *virt) inPool(ctx context.Context, ref string, f func(p *poolAt) error) error {
	for tries := 1; ; tries++ {
		p, err := v.pool(ctx, ref)
		if err == nil {
			err = f(p)
		}
		if tries == 5 || !v.lost(ctx, p, err) {
			return err
		}
		v.forget()
	}
}

// lost says whether err came of a pool that is gone, or stopped. p is nil if it could not even be prepared.
func (v *virt) lost(ctx context.Context, p *poolAt, err error) bool {
	if p == nil || !conn.Is(err, libvirt.ErrOperationInvalid) {
		return conn.Is(err, libvirt.ErrNoStoragePool)
	}
	stopped := false
	err = v.host.Ask(ctx, "look at storage pool "+p.pool.Name, func(c *libvirt.Libvirt) error {
		active, err := c.StoragePoolIsActive(p.pool)
		stopped = gone(err) || err == nil && active == 0
		return nil
	})
	return err == nil && stopped
}

// findVolume finds a volume by its name in any pool that is a folder, ours first.
func findVolume(c *libvirt.Libvirt, name string) (libvirt.StorageVol, error) {
	all, err := folders(c)
	if err != nil {
		return libvirt.StorageVol{}, err
	}
	for _, p := range all {
		vol, err := c.StorageVolLookupByName(p, name)
		if err == nil {
			return vol, nil
		}
		if !gone(err) && !conn.Is(err, libvirt.ErrOperationInvalid) { // it was stopped meanwhile
			return vol, err
		}
	}
	return libvirt.StorageVol{}, &provider.Error{Code: provider.NotFound, Text: "no storage pool has volume " + name}
}

// folders are the pools that are folders and active, ours first.
func folders(c *libvirt.Libvirt) ([]libvirt.StoragePool, error) {
	all, _, err := c.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive|libvirt.ConnectListStoragePoolsDir|libvirt.ConnectListStoragePoolsFs|libvirt.ConnectListStoragePoolsNetfs)
	slices.SortStableFunc(all, func(a, b libvirt.StoragePool) int {
		return rank(a.Name) - rank(b.Name)
	})
	return all, err
}

func rank(pool string) int {
	if strings.HasPrefix(pool, poolPrefix) {
		return 0
	}
	return 1
}

// removeVolume deletes a volume; absent already is success. One that somebody just fills is code Busy.
func removeVolume(c *libvirt.Libvirt, vol libvirt.StorageVol) error {
	err := c.StorageVolDelete(vol, 0)
	switch {
	case gone(err):
		return nil
	case conn.Is(err, libvirt.ErrOperationInvalid):
		return &provider.Error{Code: provider.Busy, Text: "volume " + vol.Name + ": " + err.Error()}
	case err != nil: // its file may have gone without libvirt, which then knows it no longer
		if _, lerr := c.StorageVolLookupByName(libvirt.StoragePool{Name: vol.Pool}, vol.Name); gone(lerr) {
			return nil
		}
	}
	return err
}

// sweepPools removes the pools that we made and in which nothing is left.
func sweepPools(c *libvirt.Libvirt) error {
	all, _, err := c.ConnectListAllStoragePools(1, 0)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.UUID != uuid(kindPool, "", p.Name) {
			continue
		}
		if err := sweepPool(c, p); err != nil && !gone(err) && !conn.Is(err, libvirt.ErrOperationInvalid, libvirt.ErrInternalError) {
			return err // the latter two: somebody is making something in it
		}
	}
	return nil
}

func sweepPool(c *libvirt.Libvirt, p libvirt.StoragePool) error {
	if active, err := c.StoragePoolIsActive(p); err != nil || active == 0 {
		return err
	}
	if err := c.StoragePoolRefresh(p, 0); err != nil { // files that came without libvirt count
		return err
	}
	if n, err := c.StoragePoolNumOfVolumes(p); err != nil || n > 0 {
		return err
	}
	if err := c.StoragePoolDestroy(p); err != nil {
		return err
	}
	// The folder stays if anything is in it that is no volume: only an empty one can be deleted.
	if err := c.StoragePoolDelete(p, 0); err != nil && !conn.Is(err, libvirt.ErrSystemError) {
		return err
	}
	return c.StoragePoolUndefine(p)
}

// atFolder does something in the pool of a folder, which has been looked through anew; where there is none, in one that
// is there only for this.
func (v *virt) atFolder(ctx context.Context, dir string, f func(pool libvirt.StoragePool) error) error {
	v.making.Lock() // two at once would take each other's pool away
	defer v.making.Unlock()
	var pool libvirt.StoragePool
	passing := false
	err := v.host.Ask(ctx, "look into "+dir, func(c *libvirt.Libvirt) (err error) {
		if pool, err = c.StoragePoolLookupByTargetPath(dir); err == nil {
			return refresh(c, pool)
		}
		if !conn.Is(err, libvirt.ErrNoStoragePool) {
			return err
		}
		h := sha256.Sum256([]byte("passing\x00" + dir))
		x := libvirtxml.StoragePool{Type: "dir", Name: poolPrefix + "passing-" + hex.EncodeToString(h[:4]), Target: &libvirtxml.StoragePoolTarget{Path: dir}}
		text, err := x.Marshal()
		if err != nil {
			return err
		}
		passing = true
		pool, err = c.StoragePoolCreateXML(text, 0)
		return err
	})
	if err != nil {
		return err
	}
	err = f(pool)
	if passing {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyDeadline)
		defer cancel()
		derr := v.host.Ask(tidy, "leave "+dir, func(c *libvirt.Libvirt) error { return c.StoragePoolDestroy(pool) })
		if err == nil && !gone(derr) {
			err = derr
		}
	}
	return err
}

// refreshAll has libvirt look through the folders of the pools that are ours.
func refreshAll(c *libvirt.Libvirt) error {
	pools, err := folders(c)
	for _, p := range pools {
		if err == nil && rank(p.Name) == 0 {
			err = refresh(c, p)
		}
	}
	return err
}

// refresh has libvirt look through a pool's folder. While something is being made in the pool it does not, and knows
// that at least.
func refresh(c *libvirt.Libvirt, pool libvirt.StoragePool) error {
	err := c.StoragePoolRefresh(pool, 0)
	if conn.Is(err, libvirt.ErrInternalError) {
		return nil
	}
	return err
}
