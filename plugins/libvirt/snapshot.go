package libvirt

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// A snapshot is a volume beside each disk, on the same image, with what the disk held; one with a machine's UEFI
// variables; and one that says what belongs together, which is written last: without it a snapshot is half made.

// snapshot is what is written of one.
type snapshot struct {
	Name     string         `json:"name"`
	Taken    time.Time      `json:"taken"`
	Note     string         `json:"note,omitempty"`
	Machines []snapshotPart `json:"machines"`
}

// snapshotPart is what a snapshot has of a machine.
type snapshotPart struct {
	Name  string      `json:"name"`
	Disks []string    `json:"disks,omitempty"`
	Vars  string      `json:"vars,omitempty"`  // where its UEFI variables were; a machine that never ran has none
	Guest *guestAttrs `json:"guest,omitempty"` // what was true inside, as far as known
}

// volumes are the names of the volumes of a lab's snapshot, but for the one that lists them.
func (s snapshot) volumes(labName string) []string {
	var names []string
	for _, m := range s.Machines {
		for _, d := range m.Disks {
			names = append(names, diskKept(labName, m.Name, d, s.Name))
		}
		if m.Vars != "" {
			names = append(names, varsKept(labName, m.Name, s.Name))
		}
	}
	return names
}

// Snapshots implements provider.Snapshotter.
func (v *virt) Snapshots(ctx context.Context, l lab.Lab) ([]provider.Snapshot, error) {
	list, err := v.snapshots(ctx, l.Name)
	return list, provider.Wrap("list the snapshots of lab "+l.Name, provider.Addr{}, err)
}

func (v *virt) snapshots(ctx context.Context, labName string) ([]provider.Snapshot, error) {
	var kept map[string][]keptVolume
	err := v.host.Ask(ctx, "list volumes", func(c *libvirt.Libvirt) (err error) {
		kept, err = keptVolumes(c, labName)
		return err
	})
	if err != nil {
		return nil, err
	}
	var list []provider.Snapshot
	for name, vols := range kept {
		s, complete, err := v.readSnapshot(ctx, labName, name, vols)
		if err != nil {
			return nil, err
		}
		x := provider.Snapshot{Name: name, Taken: s.Taken, Note: s.Note, Complete: complete}
		for _, vol := range vols {
			x.Size += vol.size
		}
		for _, m := range s.Machines {
			x.Machines = append(x.Machines, m.Name)
		}
		slices.Sort(x.Machines)
		list = append(list, x)
	}
	sort.Slice(list, func(i, j int) bool {
		if !list[i].Taken.Equal(list[j].Taken) {
			return list[i].Taken.Before(list[j].Taken)
		}
		return list[i].Name < list[j].Name
	})
	return list, nil
}

// keptVolume is a volume of a snapshot.
type keptVolume struct {
	libvirt.StorageVol
	size lab.Bytes // on disk
}

// keptVolumes are the volumes of a lab's snapshots, by the snapshot; one whose file is gone is none.
func keptVolumes(c *libvirt.Libvirt, labName string) (map[string][]keptVolume, error) {
	pools, err := folders(c)
	if err != nil {
		return nil, err
	}
	kept := map[string][]keptVolume{}
	for _, p := range pools {
		all, _, err := c.StoragePoolListAllVolumes(p, 1, 0)
		if gone(err) || conn.Is(err, libvirt.ErrOperationInvalid) { // stopped meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, vol := range all {
			name, ok := parseKept(labName, vol.Name)
			if !ok {
				continue
			}
			_, _, used, err := c.StorageVolGetInfo(vol)
			switch {
			case err == nil:
				kept[name] = append(kept[name], keptVolume{vol, lab.Bytes(used)})
			case !fileGone(err):
				return nil, err
			}
		}
	}
	return kept, nil
}

// readSnapshot reads what a snapshot consists of. One without a list has what its volumes' names say, and is not
// complete; nor is one of which a volume is gone.
func (v *virt) readSnapshot(ctx context.Context, labName, name string, vols []keptVolume) (s snapshot, complete bool, err error) {
	there := map[string]bool{}
	var list libvirt.StorageVol
	for _, vol := range vols {
		there[vol.Name] = true
		if vol.Name == listKept(labName, name) {
			list = vol.StorageVol
		}
	}
	var text bytes.Buffer
	if list.Name != "" {
		err := v.host.Download(ctx, list, &text, 0)
		if err != nil && !gone(err) {
			return s, false, err
		}
	}
	if json.Unmarshal(bytes.TrimRight(text.Bytes(), "\x00"), &s) != nil || s.Name != name {
		return halfMade(labName, name, vols), false, nil
	}
	for _, vol := range s.volumes(labName) {
		if !there[vol] {
			return s, false, nil
		}
	}
	return s, true, nil
}

// halfMade is what the volumes' names say of a snapshot.
func halfMade(labName, name string, vols []keptVolume) snapshot {
	s := snapshot{Name: name}
	for _, vol := range vols {
		m, _, ok := strings.Cut(strings.TrimPrefix(vol.Name, prefix(labName)), between)
		m = unescape(m)
		if ok && !slices.ContainsFunc(s.Machines, func(x snapshotPart) bool { return x.Name == m }) {
			s.Machines = append(s.Machines, snapshotPart{Name: m})
		}
	}
	return s
}

// findSnapshot is a snapshot that is complete.
func (v *virt) findSnapshot(ctx context.Context, labName, name string) (snapshot, error) {
	var vols []keptVolume
	err := v.host.Ask(ctx, "look for snapshot "+name, func(c *libvirt.Libvirt) error {
		kept, err := keptVolumes(c, labName)
		vols = kept[name]
		return err
	})
	if err != nil {
		return snapshot{}, err
	}
	if len(vols) == 0 {
		return snapshot{}, &provider.Error{Code: provider.NotFound, Text: "there is no snapshot " + name}
	}
	s, complete, err := v.readSnapshot(ctx, labName, name, vols)
	if err == nil && !complete {
		err = &provider.Error{Code: provider.Invalid, Text: "snapshot " + name + " is not complete"}
	}
	return s, err
}

// RemoveSnapshot implements provider.Snapshotter.
func (v *virt) RemoveSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	defer v.begin()()
	return provider.Wrap("remove snapshot "+name, provider.Addr{}, v.removeSnapshot(ctx, l.Name, name))
}

func (v *virt) removeSnapshot(ctx context.Context, labName, name string) error {
	w, err := v.look(ctx, lab.Lab{Name: labName})
	if err != nil {
		return err
	}
	for _, d := range w.domains {
		if d.mark.Lab == labName && d.mark.Restore == name {
			return &provider.Error{Code: provider.InUse, Text: fmt.Sprintf("machine %s has only half of it back: restore it again first, or apply the lab", d.mark.Name)}
		}
	}
	return v.host.Ask(ctx, "remove its volumes", func(c *libvirt.Libvirt) error {
		if err := endCopiers(c, w.domains, labName); err != nil {
			return err
		}
		return removeKept(c, labName, func(snapshot string) bool { return snapshot == name })
	})
}

// removeKept removes the volumes of some of a lab's snapshots. The list of each goes first: what is left of it after a
// crash is no snapshot any more.
func removeKept(c *libvirt.Libvirt, labName string, which func(snapshot string) bool) error {
	all, err := keptVolumes(c, labName)
	if err != nil {
		return err
	}
	for name, vols := range all {
		if !which(name) {
			continue
		}
		sort.SliceStable(vols, func(i, j int) bool {
			return vols[i].Name == listKept(labName, name) && vols[j].Name != listKept(labName, name)
		})
		for _, vol := range vols {
			if err := removeVolume(c, vol.StorageVol); err != nil {
				return err
			}
		}
	}
	return nil
}

// pour makes a small volume of bytes, in place of one of that name.
func (v *virt) pour(ctx context.Context, pool libvirt.StoragePool, name string, b []byte) error {
	var vol libvirt.StorageVol
	err := v.host.Ask(ctx, "make volume "+name, func(c *libvirt.Libvirt) (err error) {
		if err = renew(c, pool, name, len(b), false); err != nil {
			return err
		}
		vol, err = c.StorageVolLookupByName(pool, name)
		return err
	})
	if err != nil || len(b) == 0 {
		return err
	}
	return v.host.Upload(ctx, vol, bytes.NewReader(b), 0)
}

// varsFile is where a machine's UEFI variables are; "" if it has none, or if libvirt does not tell before it runs.
func varsFile(d *domainSeen) string {
	for _, x := range []libvirtxml.Domain{d.live, d.config} {
		if x.OS != nil && x.OS.NVRam != nil && x.OS.NVRam.NVRam != "" {
			return x.OS.NVRam.NVRam
		}
	}
	return ""
}
