package libvirt

import (
	"context"
	"path"
	"strings"

	"github.com/digitalocean/go-libvirt"
	"libvirt.org/go/libvirtxml"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
)

// world is what was seen on a host in one pass. What is not the lab's is seen, too: it may use what is.
type world struct {
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
}

// look sees the host. Round trips: nine, one for each domain, network and pool of the host, more for each that is
// the lab's and runs (one, of a network two), and one for each volume of the lab.
func (v *virt) look(ctx context.Context, l lab.Lab) (*world, error) {
	w := &world{}
	err := v.host.Ask(ctx, "look at all pools, networks and domains", func(c *libvirt.Libvirt) error {
		*w = world{} // it may be the second try
		if err := w.lookPools(c, l); err != nil {
			return err
		}
		if err := w.lookNetworks(c, l.Name); err != nil {
			return err
		}
		return w.lookDomains(c, l.Name)
	})
	return w, err
}

func (w *world) lookPools(c *libvirt.Libvirt, l lab.Lab) error {
	all, _, err := c.ConnectListAllStoragePools(1, 0)
	if err != nil {
		return err
	}
	running, _, err := c.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive)
	if err != nil {
		return err
	}
	active := map[libvirt.UUID]bool{}
	for _, p := range running {
		active[p.UUID] = true
	}
	seen := make([]*poolSeen, len(all))
	err = fan(len(all), func(i int) (err error) {
		if seen[i], err = lookPool(c, all[i]); gone(err) {
			return nil
		}
		if err == nil {
			seen[i].active = active[all[i].UUID]
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
	for _, p := range seen {
		if p == nil {
			continue
		}
		w.pools = append(w.pools, p)
		if err := p.lookVolumes(c, func(name string) bool { return images[name] || strings.HasPrefix(name, prefix(l.Name)) }); err != nil {
			return err
		}
	}
	return nil
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

// lookVolumes sees the volumes that are ours to know.
func (s *poolSeen) lookVolumes(c *libvirt.Libvirt, ours func(name string) bool) error {
	if !s.active || s.path == "" {
		return nil
	}
	all, _, err := c.StoragePoolListAllVolumes(libvirt.StoragePool{Name: s.name, UUID: s.uuid}, 1, 0)
	if err != nil {
		if gone(err) {
			return nil
		}
		return err
	}
	var mine []libvirt.StorageVol
	for _, vol := range all {
		if ours(vol.Name) {
			mine = append(mine, vol)
		}
	}
	seen := make([]*volumeSeen, len(mine))
	err = fan(len(mine), func(i int) (err error) {
		seen[i], err = lookVolume(c, mine[i])
		return err
	})
	for _, vol := range seen {
		if vol != nil {
			s.volumes[vol.name] = vol
		}
	}
	return err
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
	var x libvirtxml.StorageVolume
	if err := x.Unmarshal(text); err != nil {
		return nil, err
	}
	return volumeOf(vol.Name, x), nil
}

// fileGone says whether err, of asking about a volume, means that its file is not there.
func fileGone(err error) bool {
	return conn.Is(err, libvirt.ErrNoStorageVol, libvirt.ErrSystemError, libvirt.ErrInternalError, libvirt.ErrNoStoragePool)
}

func (w *world) lookNetworks(c *libvirt.Libvirt, labName string) error {
	all, _, err := c.ConnectListAllNetworks(1, 0)
	if err != nil {
		return err
	}
	running, _, err := c.ConnectListAllNetworks(1, libvirt.ConnectListNetworksActive)
	if err != nil {
		return err
	}
	auto, _, err := c.ConnectListAllNetworks(1, libvirt.ConnectListNetworksAutostart)
	if err != nil {
		return err
	}
	in := func(list []libvirt.Network, n libvirt.Network) bool {
		for _, x := range list {
			if x.UUID == n.UUID {
				return true
			}
		}
		return false
	}
	seen := make([]*networkSeen, len(all))
	err = fan(len(all), func(i int) (err error) {
		n := &networkSeen{net: all[i], active: in(running, all[i]), autostart: in(auto, all[i])}
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
	if !n.active || n.mark.Lab != labName {
		return nil
	}
	if text, err = c.NetworkGetXMLDesc(n.net, uint32(libvirt.NetworkXMLInactive)); err != nil {
		return err
	}
	n.config = libvirtxml.Network{}
	if err := n.config.Unmarshal(text); err != nil {
		return err
	}
	n.ports, err = lookPorts(c, n.net)
	return err
}

func (w *world) lookDomains(c *libvirt.Libvirt, labName string) error {
	all, _, err := c.ConnectListAllDomains(1, 0)
	if err != nil || len(all) == 0 {
		return err
	}
	auto, _, err := c.ConnectListAllDomains(1, libvirt.ConnectListDomainsAutostart)
	if err != nil {
		return err
	}
	kept, _, err := c.ConnectListAllDomains(1, libvirt.ConnectListDomainsPersistent)
	if err != nil {
		return err
	}
	states, err := domainStates(c)
	if err != nil {
		return err
	}
	autostart, persistent := map[libvirt.UUID]bool{}, map[libvirt.UUID]bool{}
	for _, d := range auto {
		autostart[d.UUID] = true
	}
	for _, d := range kept {
		persistent[d.UUID] = true
	}
	seen := make([]*domainSeen, len(all))
	err = fan(len(all), func(i int) (err error) {
		state, ok := states[all[i].UUID]
		if !ok { // it came after the states were asked for, or went
			state = off
		}
		id := all[i].UUID
		d := &domainSeen{dom: all[i], active: state != off && state != crashed, autostart: autostart[id], transient: !persistent[id], state: state}
		if err = d.look(c, labName); err == nil {
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

func (d *domainSeen) look(c *libvirt.Libvirt, labName string) error {
	text, err := c.DomainGetXMLDesc(d.dom, 0)
	if err != nil {
		return err
	}
	if err := d.live.Unmarshal(text); err != nil {
		return err
	}
	d.config = d.live
	d.mark, _ = domainMark(d.live)
	if !d.active || d.mark.Lab != labName {
		return nil
	}
	if text, err = c.DomainGetXMLDesc(d.dom, libvirt.DomainXMLInactive); err != nil {
		return err
	}
	d.config = libvirtxml.Domain{}
	return d.config.Unmarshal(text)
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
