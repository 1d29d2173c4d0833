package libvirtbench

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
	"libvirt.org/go/libvirtxml"
)

// floor makes the very things that labctl makes, by as few calls as libvirt has for them: it has learned their
// definitions from what labctl made, looks nothing up, checks nothing and reads nothing back.
type floor struct {
	b        *testing.B
	socket   string
	parallel int
	host     string // folder of the libvirt host, as seen from here

	pool     pool
	networks []network
	machines []machine
}

type pool struct {
	pool libvirt.StoragePool
	text string
}

type network struct {
	text string
	net  libvirt.Network
}

// machine is what a machine consists of.
type machine struct {
	dom     libvirt.Domain
	text    string
	volumes []volume
}

type volume struct {
	vol     libvirt.StorageVol
	text    string
	content []byte // nil for none
}

// disks is the pool of all volumes but the image's.
const disks = "labctl-disks"

func newFloor(b *testing.B, socket string, parallel int, host string) *floor {
	return &floor{b: b, socket: socket, parallel: parallel, host: host}
}

func (f *floor) must(err error) {
	f.b.Helper()
	if err != nil {
		f.b.Fatalf("raw calls: %v", err)
	}
}

// connect is a connection to libvirtd.
func (f *floor) connect() *libvirt.Libvirt {
	conn, err := net.Dial("unix", f.socket)
	f.must(err)
	c := libvirt.NewWithDialer(dialers.NewAlreadyConnected(conn))
	f.must(c.ConnectToURI("qemu:///system"))
	return c
}

// fan calls do for 0 to n-1, at most so many at a time, and tells it which of them it is.
func fan(n, parallel int, do func(worker, i int) error) error {
	next := make(chan int)
	errs := make(chan error, parallel)
	var wg sync.WaitGroup
	for w := range parallel {
		wg.Go(func() {
			var first error
			for i := range next {
				if err := do(w, i); err != nil && first == nil {
					first = err
				}
			}
			errs <- first
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// atOnce is how many requests of one connection libvirtd works on, less one: labctl asks as many.
const atOnce = 4

// look sees all that a plan needs, in the round trips that TestRoundTrips counts: which domains run, are kept asleep, start
// with the host or are gone when they end; which networks and pools run; every domain as it runs and as it is defined, every
// network likewise and who is on it, every pool, and every volume in it that may be a disk. Nothing is made of the answers.
func (f *floor) look() {
	c := f.connect()
	defer c.Disconnect()
	networks, domains, pools := f.lists(c)
	var asks []func() error
	for _, n := range networks {
		asks = append(asks,
			func() error { _, err := c.NetworkGetXMLDesc(n, 0); return err },
			func() error { _, err := c.NetworkGetXMLDesc(n, uint32(libvirt.NetworkXMLInactive)); return err },
			func() error { _, _, err := c.NetworkListAllPorts(n, 1, 0); return err })
	}
	for _, d := range domains {
		asks = append(asks,
			func() error { _, err := c.DomainGetXMLDesc(d, 0); return err },
			func() error { _, err := c.DomainGetXMLDesc(d, libvirt.DomainXMLInactive); return err })
	}
	vols := make([][]libvirt.StorageVol, len(pools))
	f.must(fan(len(pools), atOnce, func(_, i int) (err error) {
		vols[i], _, err = c.StoragePoolListAllVolumes(pools[i], 1, 0)
		return err
	}))
	for i, p := range pools {
		asks = append(asks, func() error { _, err := c.StoragePoolGetXMLDesc(p, 0); return err })
		for _, v := range vols[i] {
			if strings.HasSuffix(v.Name, ".qcow2") { // the others are there or not: the list says it
				asks = append(asks, func() error { _, err := c.StorageVolGetXMLDesc(v, 0); return err })
			}
		}
	}
	f.must(fan(len(asks), atOnce, func(_, i int) error { return asks[i]() }))
}

// lists asks for everything on the host by its names, and for those that are in some state.
func (f *floor) lists(c *libvirt.Libvirt) (networks []libvirt.Network, domains []libvirt.Domain, pools []libvirt.StoragePool) {
	asks := []func() error{
		func() (err error) { networks, _, err = c.ConnectListAllNetworks(1, 0); return err },
		func() (err error) { domains, _, err = c.ConnectListAllDomains(1, 0); return err },
		func() (err error) { pools, _, err = c.ConnectListAllStoragePools(1, 0); return err },
		func() error {
			_, err := c.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsState), 0)
			return err
		},
		func() error {
			_, _, err := c.ConnectListAllStoragePools(1, libvirt.ConnectListStoragePoolsActive)
			return err
		},
	}
	for _, flag := range []libvirt.ConnectListAllDomainsFlags{libvirt.ConnectListDomainsAutostart, libvirt.ConnectListDomainsPersistent, libvirt.ConnectListDomainsManagedsave} {
		asks = append(asks, func() error { _, _, err := c.ConnectListAllDomains(1, flag); return err })
	}
	for _, flag := range []libvirt.ConnectListAllNetworksFlags{libvirt.ConnectListNetworksActive, libvirt.ConnectListNetworksAutostart} {
		asks = append(asks, func() error { _, _, err := c.ConnectListAllNetworks(1, flag); return err })
	}
	f.must(fan(len(asks), atOnce, func(_, i int) error { return asks[i]() }))
	return networks, domains, pools
}

// learn reads what there is.
func (f *floor) learn() {
	c := f.connect()
	defer c.Disconnect()
	networks, _, err := c.ConnectListAllNetworks(1, 0)
	f.must(err)
	f.networks, f.machines = nil, nil
	for _, n := range networks {
		text, err := c.NetworkGetXMLDesc(n, uint32(libvirt.NetworkXMLInactive))
		f.must(err)
		f.networks = append(f.networks, network{text, n})
	}
	domains, _, err := c.ConnectListAllDomains(1, 0)
	f.must(err)
	f.pool.pool, err = c.StoragePoolLookupByName(disks)
	f.must(err)
	f.pool.text, err = c.StoragePoolGetXMLDesc(f.pool.pool, libvirt.StorageXMLInactive)
	f.must(err)
	for _, d := range domains {
		text, err := c.DomainGetXMLDesc(d, libvirt.DomainXMLInactive|libvirt.DomainXMLSecure)
		f.must(err)
		m := machine{dom: d, text: text}
		vols, _, err := c.StoragePoolListAllVolumes(f.pool.pool, 1, 0)
		f.must(err)
		for _, v := range vols {
			if strings.Contains(v.Name, "--"+strings.TrimPrefix(d.Name, labName+"-")+"--") {
				m.volumes = append(m.volumes, f.learnVolume(c, v))
			}
		}
		f.machines = append(f.machines, m)
	}
}

func (f *floor) learnVolume(c *libvirt.Libvirt, v libvirt.StorageVol) volume {
	text, err := c.StorageVolGetXMLDesc(v, 0)
	f.must(err)
	var have libvirtxml.StorageVolume
	f.must(have.Unmarshal(text))
	want := libvirtxml.StorageVolume{Name: have.Name, Capacity: have.Capacity, Target: &libvirtxml.StorageVolumeTarget{
		Format: have.Target.Format, Permissions: &libvirtxml.StorageVolumeTargetPermissions{Mode: "0600"},
	}}
	learned := volume{vol: v}
	if b := have.BackingStore; b != nil {
		want.BackingStore = &libvirtxml.StorageVolumeBackingStore{Path: b.Path, Format: b.Format}
	}
	if strings.HasSuffix(v.Name, ".iso") {
		want.Target.Format.Type = "raw"
		learned.content, err = os.ReadFile(filepath.Join(f.host, "labctl", "disks", v.Name))
		f.must(err)
	}
	learned.text, err = want.Marshal()
	f.must(err)
	return learned
}

// apply makes everything, over a connection for each of those at work.
func (f *floor) apply() {
	cs, done := f.crew()
	defer done()
	f.must(f.pool.make(cs[0]))
	f.must(fan(len(f.networks), f.parallel, func(w, i int) error { return f.networks[i].make(cs[w]) }))
	f.must(fan(len(f.machines), f.parallel, func(w, i int) error { return f.machines[i].make(cs[w], f.pool.pool) }))
}

func (p pool) make(c *libvirt.Libvirt) error {
	if _, err := c.StoragePoolDefineXML(p.text, 0); err != nil {
		return err
	}
	if err := c.StoragePoolSetAutostart(p.pool, 1); err != nil {
		return err
	}
	if err := c.StoragePoolBuild(p.pool, 0); err != nil {
		return err
	}
	return c.StoragePoolCreate(p.pool, 0)
}

func (n network) make(c *libvirt.Libvirt) error {
	net, err := c.NetworkDefineXML(n.text)
	if err != nil {
		return err
	}
	if err := c.NetworkSetAutostart(net, 1); err != nil {
		return err
	}
	return c.NetworkCreate(net)
}

func (m machine) make(c *libvirt.Libvirt, pool libvirt.StoragePool) error {
	for _, v := range m.volumes {
		if _, err := c.StorageVolCreateXML(pool, v.text, 0); err != nil {
			return err
		}
		if v.content == nil {
			continue
		}
		if err := c.StorageVolUpload(v.vol, bytes.NewReader(v.content), 0, 0, 0); err != nil {
			return err
		}
	}
	dom, err := c.DomainDefineXMLFlags(m.text, 0)
	if err != nil {
		return err
	}
	return c.DomainCreate(dom)
}

// destroy removes everything.
func (f *floor) destroy() {
	cs, done := f.crew()
	defer done()
	f.must(fan(len(f.machines), f.parallel, func(w, i int) error { return f.machines[i].remove(cs[w]) }))
	f.must(fan(len(f.networks), f.parallel, func(w, i int) error {
		if err := cs[w].NetworkDestroy(f.networks[i].net); err != nil {
			return err
		}
		return cs[w].NetworkUndefine(f.networks[i].net)
	}))
	f.must(cs[0].StoragePoolDestroy(f.pool.pool))
	f.must(cs[0].StoragePoolDelete(f.pool.pool, 0))
	f.must(cs[0].StoragePoolUndefine(f.pool.pool))
}

func (m machine) remove(c *libvirt.Libvirt) error {
	if err := c.DomainDestroy(m.dom); err != nil {
		return err
	}
	if err := c.DomainUndefineFlags(m.dom, 0); err != nil {
		return err
	}
	for _, v := range m.volumes {
		if err := c.StorageVolDelete(v.vol, 0); err != nil {
			return err
		}
	}
	return nil
}

// crew are connections for each of those at work, and the function that ends them.
func (f *floor) crew() ([]*libvirt.Libvirt, func()) {
	var cs []*libvirt.Libvirt
	for range f.parallel {
		cs = append(cs, f.connect())
	}
	return cs, func() {
		for _, c := range cs {
			f.must(c.Disconnect())
		}
	}
}
