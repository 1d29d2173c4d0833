// Package libvirt is the provider for a libvirt host, this one or another: volumes in storage pools, libvirt's own
// networks, and one domain per machine. The truth is what libvirt says; each domain and network carries its owner in
// its metadata, each volume in its name. There is no state file.
//
// It must not know plans or their order, CUE, or any other hypervisor; nor how a connection comes about (conn).
package libvirt

import (
	"path/filepath"
	"sync"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// Name is the provider's name in specs and addresses.
const Name = "libvirt"

// The kinds in creation order.
const (
	kindPool    = "pool"
	kindImage   = "image"
	kindNetwork = "network"
	kindDisk    = "disk"
	kindMachine = "machine"
	kindGuest   = "guest"
)

// Plugin returns the libvirt provider.
func Plugin() provider.Plugin {
	return provider.Plugin{
		Description: Description(),
		New:         func(o provider.Options) (provider.Provider, error) { return open(o) },
	}
}

// Description is what can be known of the provider without asking it.
func Description() provider.Description {
	live, reboot := provider.Attr{Impact: provider.Live}, provider.Attr{Impact: provider.Reboot}
	reinstall, replace := provider.Attr{Impact: provider.Reinstall}, provider.Attr{Impact: provider.Replace}
	// A network that is restarted under its machines passes no packets for a moment; their links stay up.
	moment := provider.Attr{Impact: provider.Reconfigure}
	return provider.Description{
		Name: Name, Options: optionsCUE,
		Abilities: []provider.Ability{provider.Dials, provider.Consoles, provider.Diagnoses, provider.Snapshots, provider.Adopts, provider.Measures, provider.Starts},
		Kinds: []provider.Kind{
			{Name: kindPool, Attrs: map[string]provider.Attr{"path": replace, "power": live}},
			{Name: kindImage, Attrs: map[string]provider.Attr{"id": replace, "source": live, "pool": replace}},
			{Name: kindNetwork, Attrs: map[string]provider.Attr{
				"forward": moment, "bridge": moment, "mac": moment, "local": moment, "cidr": moment, "cidr6": moment, "address": moment, "address6": moment,
				"mtu": moment, "domain": moment, "power": moment, "name": moment,
				"dhcp": live, "leases": live, "records": live, "autostart": live, "definition": live,
				"detached": live, "adopted": replace,
			}},
			{Name: kindDisk, Data: true, Attrs: map[string]provider.Attr{
				"image": reinstall, "pool": reinstall, "size": {Impact: provider.Live, Lower: provider.Reinstall}, "protect": live,
			}},
			{Name: kindMachine, Machine: true, Seeded: true, RemadeWith: []string{kindDisk}, Attrs: map[string]provider.Attr{
				"adopted": replace, "arch": replace, "firmware": replace, "board": replace, "name": reboot,
				"image": reboot, "max_cpus": reboot, "max_memory": reboot, "mtu": reboot, "power": {Impact: provider.Reboot, Alike: []string{on, saved, suspended}}, "root": reboot,
				"cpu": reboot, "type": reboot, "boot": reboot, "nested": reboot, "devices": reboot,
				"cpus": {Impact: provider.Live, Lower: provider.Reboot}, "memory": live,
				"nics": {Impact: provider.Live, Place: true}, "disks": live, "protect": live, "precious": live, "autostart": live, "seed": live, "definition": live,
			}},
			{Name: kindGuest, Guest: true, RemadeWith: []string{kindMachine}, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Reconfigure, Place: true}, "digest": {Impact: provider.Reconfigure},
			}},
		},
	}
}

// virt is the provider for one target.
type virt struct {
	home, target string
	opts         options
	host         *conn.Host

	making  sync.Mutex // held while a pool is looked for or made
	rooming sync.Mutex // held while it is looked whether there is room for networks
	leaving sync.Mutex // held while an object of a lab with snapshots is deleted

	mu     sync.Mutex                       // guards what follows
	active int                              // Creates, Updates and Deletes under way
	pools  map[string]*poolAt               // by reference
	boots  map[string]bootFrom              // by image identity
	accel  map[string]string                // domain type by architecture
	plots  plots                            // what is to be looked at before anything is made
	wanted map[string]map[string]imageAttrs // what images a lab is to have, by lab and identity

	starts chan struct{} // has room for the domains that are just started
}

// startsAtOnce is how many domains are started at the same time: libvirtd only queues more of them.
const startsAtOnce = 3

func open(o provider.Options) (*virt, error) {
	opts, err := parseOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(o.Home) {
		return nil, &provider.Error{Op: "open target " + o.Target, Code: provider.Invalid, Text: "home " + o.Home + " is no absolute path"}
	}
	host, err := conn.Open(opts.URI, conn.Options{})
	if err != nil {
		return nil, provider.Wrap("open target "+o.Target, provider.Addr{}, err)
	}
	return &virt{
		home: o.Home, target: o.Target, opts: opts, host: host,
		pools: map[string]*poolAt{}, boots: map[string]bootFrom{}, accel: map[string]string{}, wanted: map[string]map[string]imageAttrs{}, plots: plots{},
		starts: make(chan struct{}, startsAtOnce),
	}, nil
}

func addr(kind, name string) provider.Addr {
	return provider.Addr{Provider: Name, Kind: kind, Name: name}
}

// decode reads attributes, whatever their keys, into a struct with JSON tags.
func decode(a provider.Addr, attrs provider.Attrs, into any) error {
	if err := attrs.Decode(into); err != nil {
		return &provider.Error{Addr: a, Code: provider.Internal, Text: err.Error()}
	}
	return nil
}
