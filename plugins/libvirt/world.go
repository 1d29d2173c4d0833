package libvirt

import (
	"context"
	"path"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
)

// world is what was seen on a host in one pass. What is not the lab's is seen, too: it may use what is.
// Of its domains all is there that a glance sees.
type world struct {
	turns    turns // of those who look at once
	pools    []*poolSeen
	networks []*networkSeen
	domains  []*domainSeen
}

type poolSeen struct {
	name, path string
	uuid       libvirt.UUID
	active     bool
	volumes    map[string]*volumeSeen // only those of the lab, and its images; all others by name alone
}

type volumeSeen struct {
	name, path, format, backing string
	capacity, allocation        lab.Bytes
	physical                    lab.Bytes // length of its file
}

// whole says whether a disk's volume is finished: one that is half made has no qcow2 header, or one without a size.
func (s *volumeSeen) whole() bool { return s.format == "qcow2" && s.capacity > 0 }

type networkSeen struct {
	net          libvirt.Network
	live, config libvirtxml.Network // the same for one that is not active
	mark         mark               // zero: foreign
	active       bool
	autostart    bool
	ports        ports // of one that is active and the lab's
}

type domainSeen struct {
	dom          libvirt.Domain
	live, config libvirtxml.Domain // the same for one that is not active
	mark         mark              // zero: foreign
	active       bool
	autostart    bool
	transient    bool // libvirt forgets it when it stops
	state        string
	kept         bool // it has a managed save image; one that runs should not
}

// settle makes state what it is, with what libvirt keeps of the machine's memory.
func (d *domainSeen) settle(state string, kept bool) {
	d.state, d.kept = state, kept
	if state == off && kept {
		d.state = saved
	}
	d.active = state != off && state != crashed
}

// look sees the host. Round trips: ten, one for each domain, network and pool of the host, more for each that is
// the lab's and runs (one, of a network two), and one for each volume of the lab.
func (v *virt) look(ctx context.Context, l lab.Lab) (*world, error) {
	w := &world{}
	err := v.host.Ask(ctx, "look at all pools, networks and domains", func(c *libvirt.Libvirt) error {
		*w = world{turns: newTurns()} // it may be the second try
		return together(
			func() error { return w.lookPools(c, l) },
			func() error { return w.lookNetworks(c, l.Name) },
			func() error { return w.lookDomains(c, l.Name) },
		)
	})
	return w, err
}

func (w *world) lookPools(c *libvirt.Libvirt, l lab.Lab) error {
	var all, running []libvirt.StoragePool
	err := w.turns.fan(2, func(i int) (err error) {
		if i == 0 {
			all, _, err = c.ConnectListAllStoragePools(1, 0)
		} else {
			running, _, err = c.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive)
		}
		return err
	})
	if err != nil {
		return err
	}
	images := map[string]bool{}
	for _, i := range l.Images {
		images[imageVolume(image.ID(i))], images[imageMark(image.ID(i))] = true, true
	}
	ours := func(name string) bool { return images[name] || strings.HasPrefix(name, prefix(l.Name)) }
	w.pools = make([]*poolSeen, len(all))
	mine := make([][]libvirt.StorageVol, len(all))
	err = w.turns.fan(len(all), func(i int) error {
		s, err := lookPool(c, all[i])
		if err == nil {
			s.active = slices.ContainsFunc(running, func(p libvirt.StoragePool) bool { return p.UUID == all[i].UUID })
			mine[i], err = s.list(c, ours)
		}
		if gone(err) {
			return nil
		}
		w.pools[i] = s
		return err
	})
	w.pools = slices.DeleteFunc(w.pools, func(s *poolSeen) bool { return s == nil })
	if err != nil {
		return err
	}
	vols := slices.Concat(mine...)
	seen := make([]*volumeSeen, len(vols))
	err = w.turns.fan(len(vols), func(i int) (err error) {
		seen[i], err = lookVolume(c, vols[i])
		return err
	})
	for i, vol := range seen {
		for _, s := range w.pools {
			if vol != nil && s.name == vols[i].Pool {
				s.volumes[vol.name] = vol
			}
		}
	}
	return err
}

// lookPool sees one pool, of which libvirt tells the path in its definition alone, and there not whether it is active.
func lookPool(c *libvirt.Libvirt, p libvirt.StoragePool) (*poolSeen, error) {
	text, err := c.StoragePoolGetXMLDesc(p, 0)
	if err != nil {
		return nil, err
	}
	var x libvirtxml.StoragePool
	if err := x.Unmarshal(text); err != nil {
		return nil, err
	}
	s := &poolSeen{name: p.Name, uuid: p.UUID, volumes: map[string]*volumeSeen{}}
	if x.Target != nil && (x.Type == "dir" || x.Type == "fs" || x.Type == "netfs") {
		s.path = path.Clean(x.Target.Path)
	}
	return s, nil
}

// list are the volumes that are ours to know.
func (s *poolSeen) list(c *libvirt.Libvirt, ours func(name string) bool) ([]libvirt.StorageVol, error) {
	if !s.active || s.path == "" {
		return nil, nil
	}
	all, _, err := c.StoragePoolListAllVolumes(libvirt.StoragePool{Name: s.name, UUID: s.uuid}, 1, 0)
	return slices.DeleteFunc(all, func(vol libvirt.StorageVol) bool { return !ours(vol.Name) }), err
}

// lookVolume sees one volume; nil if its file is not there, whatever libvirt has in mind.
func lookVolume(c *libvirt.Libvirt, vol libvirt.StorageVol) (*volumeSeen, error) {
	if plain(vol.Name) {
		return &volumeSeen{name: vol.Name, path: vol.Key}, nil // that it is there is all there is to know
	}
	return lookFully(c, vol)
}

// lookFully is lookVolume for a volume of which more is to be known than that it is there.
func lookFully(c *libvirt.Libvirt, vol libvirt.StorageVol) (*volumeSeen, error) {
	text, err := c.StorageVolGetXMLDesc(vol, 0)
	switch {
	case fileGone(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return volumeOf(vol.Name, text)
}

// fileGone says whether err, of asking about a volume, means that its file is not there.
func fileGone(err error) bool {
	return conn.Is(err, libvirt.ErrNoStorageVol, libvirt.ErrSystemError, libvirt.ErrInternalError, libvirt.ErrNoStoragePool)
}

func (w *world) lookNetworks(c *libvirt.Libvirt, labName string) error {
	lists := []struct {
		flags libvirt.ConnectListAllNetworksFlags
		nets  []libvirt.Network
	}{{flags: 0}, {flags: libvirt.ConnectListNetworksActive}, {flags: libvirt.ConnectListNetworksAutostart}}
	err := w.turns.fan(len(lists), func(i int) (err error) {
		lists[i].nets, _, err = c.ConnectListAllNetworks(1, lists[i].flags)
		return err
	})
	if err != nil {
		return err
	}
	in := func(list []libvirt.Network, n libvirt.Network) bool {
		return slices.ContainsFunc(list, func(x libvirt.Network) bool { return x.UUID == n.UUID })
	}
	all := lists[0].nets
	seen := make([]*networkSeen, len(all))
	err = w.turns.fan(len(all), func(i int) (err error) {
		n := &networkSeen{net: all[i], active: in(lists[1].nets, all[i]), autostart: in(lists[2].nets, all[i])}
		if err = n.look(c, labName); err == nil {
			seen[i] = n
		} else if gone(err) {
			err = nil
		}
		return err
	})
	for _, n := range seen {
		if n != nil {
			w.networks = append(w.networks, n)
		}
	}
	return err
}

func (n *networkSeen) look(c *libvirt.Libvirt, labName string) error {
	text, err := c.NetworkGetXMLDesc(n.net, 0)
	if err != nil {
		return err
	}
	if err := n.live.Unmarshal(text); err != nil {
		return err
	}
	n.config = n.live
	n.mark, _ = networkMark(n.live)
	// What is adopted is marked in the persistent definition alone: libvirt before 9.7 cannot mark a network that runs.
	here := n.mark.Lab == "" || n.mark.Adopted != ""
	if !n.active || n.mark.Lab != labName && !here {
		return nil
	}
	if text, err = c.NetworkGetXMLDesc(n.net, uint32(libvirt.NetworkXMLInactive)); err != nil {
		return err
	}
	n.config = libvirtxml.Network{}
	if err := n.config.Unmarshal(text); err != nil {
		return err
	}
	if here {
		if n.mark, _ = networkMark(n.config); n.mark.Adopted == "" { // released, and not started anew since
			n.mark = mark{}
		}
		return nil
	}
	n.ports, err = lookPorts(c, n.net)
	return err
}

func (w *world) lookDomains(c *libvirt.Libvirt, labName string) error {
	var states map[libvirt.UUID]string
	lists := []struct {
		flags libvirt.ConnectListAllDomainsFlags
		doms  []libvirt.Domain
	}{{flags: 0}, {flags: libvirt.ConnectListDomainsAutostart}, {flags: libvirt.ConnectListDomainsPersistent}, {flags: libvirt.ConnectListDomainsManagedsave}}
	err := w.turns.fan(len(lists)+1, func(i int) (err error) {
		if i == len(lists) {
			states, err = domainStates(c)
		} else {
			lists[i].doms, _, err = c.ConnectListAllDomains(1, lists[i].flags)
		}
		return err
	})
	if err != nil {
		return err
	}
	all := lists[0].doms
	autostart, persistent, keeps := map[libvirt.UUID]bool{}, map[libvirt.UUID]bool{}, map[libvirt.UUID]bool{}
	for _, d := range lists[3].doms {
		keeps[d.UUID] = true
	}
	for _, d := range lists[1].doms {
		autostart[d.UUID] = true
	}
	for _, d := range lists[2].doms {
		persistent[d.UUID] = true
	}
	seen := make([]*domainSeen, len(all))
	err = w.turns.fan(len(all), func(i int) (err error) {
		state, ok := states[all[i].UUID]
		if !ok { // it came after the states were asked for, or went
			state = off
		}
		id := all[i].UUID
		d := &domainSeen{dom: all[i], autostart: autostart[id], transient: !persistent[id]}
		d.settle(state, keeps[id])
		if err = d.look(c, labName, glance); err == nil {
			seen[i] = d
		} else if gone(err) {
			err = nil
		}
		return err
	})
	for _, d := range seen {
		if d != nil {
			w.domains = append(w.domains, d)
		}
	}
	return err
}

// look reads both definitions of a domain, all of them or what is asked for.
func (d *domainSeen) look(c *libvirt.Libvirt, labName string, read func(text string) (libvirtxml.Domain, error)) error {
	text, err := c.DomainGetXMLDesc(d.dom, 0)
	if err != nil {
		return err
	}
	if d.live, err = read(text); err != nil {
		return err
	}
	d.config = d.live
	d.mark, _ = domainMark(d.live)
	if d.mark.Adopted != "" { // of what others made there is more to know
		read = full
		if d.live, err = read(text); err != nil {
			return err
		}
		d.config = d.live
	}
	if !d.active || d.mark.Lab != labName {
		return nil
	}
	return d.lookConfig(c, read)
}

// lookConfig reads what a domain that runs will be when it is started next.
func (d *domainSeen) lookConfig(c *libvirt.Libvirt, read func(text string) (libvirtxml.Domain, error)) error {
	text, err := c.DomainGetXMLDesc(d.dom, libvirt.DomainXMLInactive)
	if err != nil {
		return err
	}
	d.config, err = read(text)
	return err
}

// pool is the pool that a reference means; nil if there is none.
func (w *world) pool(ref string) *poolSeen {
	for _, p := range w.pools {
		if ref == p.path || poolPrefix+ref == p.name {
			return p
		}
	}
	return nil
}

// blind says whether a pool that may be ours is not active, so that its volumes cannot be seen.
func (w *world) blind() bool {
	for _, p := range w.pools {
		if !p.active && p.path != "" {
			return true
		}
	}
	return false
}

// there says whether a disk's file exists, as far as pools tell: one in a pool that is not active is believed in.
func (w *world) there(file string) bool {
	for _, p := range w.pools {
		if p.path == path.Dir(file) && p.active {
			vol := p.volumes[path.Base(file)]
			return vol != nil || !strings.Contains(path.Base(file), between)
		}
	}
	return true
}

func (w *world) volume(name string) *volumeSeen {
	for _, p := range w.pools {
		if vol := p.volumes[name]; vol != nil {
			return vol
		}
	}
	return nil
}

// networkNames are the spec's names of a lab's networks, by their names on the host. A machine that runs on one that is
// a bridge of the host names the bridge instead.
func (w *world) networkNames(labName string) map[string]string {
	names := map[string]string{}
	for _, n := range w.networks {
		if n.mark.Lab == labName {
			names[n.live.Name] = n.mark.Name
			if n.live.Forward != nil && n.live.Forward.Mode == bridged && n.live.Bridge != nil {
				names[n.live.Bridge.Name] = n.mark.Name
			}
		}
	}
	return names
}

// adopted are the networks that some lab has adopted, by their names on the host.
func (w *world) adopted() map[string]bool {
	out := map[string]bool{}
	for _, n := range w.networks {
		if n.mark.Adopted != "" {
			out[n.live.Name] = true
		}
	}
	return out
}

// foreign are the domains on a network that are not the lab's.
func (w *world) foreign(network, labName string) []string {
	var users []string
	for _, d := range w.domains {
		if d.mark.Lab != labName && onNetwork(d.live, network) {
			users = append(users, d.live.Name)
		}
	}
	return users
}

func onNetwork(x libvirtxml.Domain, network string) bool {
	if x.Devices == nil {
		return false
	}
	for _, i := range x.Devices.Interfaces {
		if i.Source != nil && i.Source.Network != nil && i.Source.Network.Network == network {
			return true
		}
	}
	return false
}
