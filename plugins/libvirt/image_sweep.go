package libvirt

import (
	"context"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// An image is on a host for as long as a disk there is made from it, whoever's: the last lab that uses it takes it
// away. There is no list of users that could be wrong; the volumes on the host say what they are made from. Two labctl
// that do not know of each other, one of which takes away what the other just begins to use, agree by the mark (see
// imageMark): who takes away first removes the mark and then looks once more for users; who makes a disk looks for the
// mark once more when it has made it. So one of the two sees the other.

// want notes what images a lab is to have: they are not taken away meanwhile, and brought again if another does.
func (v *virt) want(l lab.Lab) {
	images := map[string]imageAttrs{}
	for _, i := range l.Images {
		images[image.ID(i)] = imageAttrs{image.ID(i), i, poolRef(l, imagePool)}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wanted[l.Name] = images
}

// wants says whether a volume is of an image that is to stay.
func (v *virt) wants(volume string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, images := range v.wanted {
		for id := range images {
			if strings.HasPrefix(volume, imageFile(id, "")) {
				return true
			}
		}
	}
	return false
}

// bringAgain brings an image that has been taken away since it was observed.
func (v *virt) bringAgain(ctx context.Context, labName, id string, p provider.Progress) error {
	v.mu.Lock()
	a, ok := v.wanted[labName][id]
	v.mu.Unlock()
	if !ok {
		return &provider.Error{Code: provider.NotFound, Text: "image " + id + " is not on the host"}
	}
	return v.ensureImage(ctx, a, p)
}

// store is what is kept in the folders of a host, as far as pools know.
type stored struct {
	pools  []libvirt.StoragePool
	vols   map[string][]libvirt.StorageVol // by pool
	images map[string][]libvirt.StorageVol // the parts of each image, by how their names begin
}

// sweepImages takes the images away that are used no longer, unless others are just being made, or a pool of which
// nothing can be seen may have a user. labName is the lab that something was just deleted of: while there is more of it,
// it is too early.
func (v *virt) sweepImages(c *libvirt.Libvirt, labName string) error {
	s, err := lookStored(c)
	if err != nil || s == nil || len(s.images) == 0 {
		return err
	}
	for _, vols := range s.vols {
		if labName != "" && slices.ContainsFunc(vols, func(x libvirt.StorageVol) bool { return strings.HasPrefix(x.Name, prefix(labName)) }) {
			return nil
		}
	}
	for name := range s.images {
		if v.wants(name) {
			delete(s.images, name)
		}
	}
	if err := s.drop(c); err != nil || len(s.images) == 0 { // those in use
		return err
	}
	for _, parts := range s.images {
		if err := s.takeAway(c, parts); err != nil {
			return err
		}
	}
	return nil
}

// lookStored lists all volumes in folders; nil if that cannot be all of them.
func lookStored(c *libvirt.Libvirt) (*stored, error) {
	const folders = libvirt.ConnectListStoragePoolsDir | libvirt.ConnectListStoragePoolsFs | libvirt.ConnectListStoragePoolsNetfs
	stopped, _, err := c.ConnectListAllStoragePools(1, folders|libvirt.ConnectListStoragePoolsInactive)
	if err != nil || len(stopped) > 0 {
		return nil, err
	}
	s := &stored{vols: map[string][]libvirt.StorageVol{}, images: map[string][]libvirt.StorageVol{}}
	if s.pools, _, err = c.ConnectListAllStoragePools(1, folders|libvirt.ConnectListStoragePoolsActive); err != nil {
		return nil, err
	}
	for _, p := range s.pools {
		vols, _, err := c.StoragePoolListAllVolumes(p, 1, 0)
		if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) { // it has just been stopped
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		s.vols[p.Name] = vols
		for _, vol := range vols {
			if begin, _, ok := strings.Cut(vol.Name, "."); ok && strings.HasPrefix(begin, imagePrefix) {
				s.images[begin+"."] = append(s.images[begin+"."], vol)
			}
		}
	}
	return s, nil
}

// drop forgets the images that are used: by a volume made from them, or by a machine that names one of their files.
func (s *stored) drop(c *libvirt.Libvirt) error {
	used := func(file string) {
		for name, parts := range s.images {
			if slices.ContainsFunc(parts, func(p libvirt.StorageVol) bool { return p.Key == file }) {
				delete(s.images, name)
			}
		}
	}
	for _, p := range s.pools {
		for _, vol := range s.vols[p.Name] {
			kept := strings.Contains(vol.Name, at) && strings.HasSuffix(vol.Name, diskSuffix) // of a snapshot
			if plain(vol.Name) && !kept || strings.HasPrefix(vol.Name, imagePrefix) || len(s.images) == 0 {
				continue
			}
			seen, err := lookFully(c, vol)
			if err != nil {
				return err
			}
			if seen != nil && seen.backing != "" {
				used(seen.backing)
			}
		}
	}
	if len(s.images) == 0 {
		return nil
	}
	all, _, err := c.ConnectListAllDomains(1, 0)
	if err != nil {
		return err
	}
	for _, d := range all {
		text, err := c.DomainGetXMLDesc(d, 0)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, parts := range s.images {
			for _, p := range parts {
				if strings.Contains(text, p.Key) {
					used(p.Key)
				}
			}
		}
	}
	return nil
}

// takeAway removes the parts of an image of which no user was seen. The last that are brought go first: so who is just
// bringing one, which libvirt does not let go of, keeps what it has.
func (s *stored) takeAway(c *libvirt.Libvirt, parts []libvirt.StorageVol) error {
	pool, err := c.StoragePoolLookupByName(parts[0].Pool)
	if err != nil {
		return err
	}
	order := []string{wholeMark, "qcow2", "cmdline", "initrd", "vmlinuz"}
	place := func(p libvirt.StorageVol) int { return slices.Index(order, p.Name[strings.LastIndex(p.Name, ".")+1:]) }
	slices.SortFunc(parts, func(a, b libvirt.StorageVol) int { return place(a) - place(b) })
	for i, p := range parts {
		marked := place(p) == 0
		if err := removeVolume(c, p); provider.CodeOf(err) == provider.Busy {
			return nil
		} else if err != nil {
			return err
		}
		if i > 0 {
			continue
		}
		for _, p := range s.pools { // made outside of libvirt, too
			if err := c.StoragePoolRefresh(p, 0); err != nil && !conn.Is(err, libvirt.ErrInternalError, libvirt.ErrOperationInvalid, libvirt.ErrNoStoragePool) {
				return err
			}
		}
		now, err := lookStored(c)
		if err != nil {
			return err
		}
		begin := p.Name[:strings.LastIndex(p.Name, ".")+1]
		if now != nil {
			now.images = map[string][]libvirt.StorageVol{begin: parts}
			err = now.drop(c)
		}
		if err == nil && now != nil && len(now.images) > 0 {
			continue
		}
		if marked { // somebody has just begun to use it
			if merr := makeVolume(c, pool, libvirtxml.StorageVolume{Name: p.Name, Capacity: &libvirtxml.StorageVolumeSize{}}); merr != nil && !conn.Is(merr, libvirt.ErrStorageVolExist) {
				return merr
			}
		}
		return err
	}
	return nil
}
