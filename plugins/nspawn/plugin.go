// Package nspawn is the provider whose machines are systemd-nspawn containers on this host: real systemd, cloud-init and
// nftables, and up within seconds, for trying services and policy where there is no time for virtual machines or no help
// of a processor for them. Containers share the host's kernel. The truth is the lab's own folder, the machines' processes
// (box) and the lab's network process (room); there is no state file.
//
// It must not know plans or their order, CUE, ssh, or any other hypervisor.
package nspawn

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// Name is the provider's name in specs and addresses.
const Name = "nspawn"

// The kinds in creation order.
const (
	kindImage   = "image"
	kindNetwork = "network"
	kindDisk    = "disk"
	kindMachine = "machine"
	kindGuest   = "guest"
)

// The words by which the plugin's program becomes one of its own processes.
const (
	roomWord = "room"
	boxWord  = "box"
)

// Plugin returns the provider. The program it is part of must call Main first of all: that is how machines and networks
// are started.
func Plugin() provider.Plugin {
	return provider.Plugin{
		Description: Description(),
		New:         func(o provider.Options) (provider.Provider, error) { return open(o) },
	}
}

// Main is the plugin's main program: the network process when its first argument is "room", a machine's when it is
// "box", else what serve makes of the provider (rpc.Serve).
func Main(serve func(provider.Plugin)) {
	if len(os.Args) > 1 && os.Args[1] == roomWord {
		os.Exit(room.Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == boxWord {
		os.Exit(box.Main(os.Args[2:]))
	}
	serve(Plugin())
}

// Description is what can be known of the provider without asking it.
func Description() provider.Description {
	live, reboot := provider.Attr{Impact: provider.Live}, provider.Attr{Impact: provider.Reboot}
	reinstall, replace := provider.Attr{Impact: provider.Reinstall}, provider.Attr{Impact: provider.Replace}
	return provider.Description{
		Name: Name, Options: optionsCUE,
		Abilities: []provider.Ability{provider.Dials, provider.Consoles, provider.Diagnoses},
		Kinds: []provider.Kind{
			{Name: kindImage, Attrs: map[string]provider.Attr{"id": replace, "source": live}},
			{Name: kindNetwork, Attrs: map[string]provider.Attr{
				"name": replace, "mac": replace, "cidr": live, "cidr6": live, "forward": live, "uplink": live, "mtu": live, "dhcp": live,
				"leases": live, "records": live, "domain": live, "routes": live, "host_access": live,
			}},
			{Name: kindDisk, Data: true, Attrs: map[string]provider.Attr{
				"image": reinstall, "protect": live, "size": {Impact: provider.Live, Lower: provider.Reinstall},
			}},
			{Name: kindMachine, Machine: true, Seeded: true, RemadeWith: []string{kindDisk}, Attrs: map[string]provider.Attr{
				"cpus": live, "memory": live, "power": reboot, "nics": {Impact: provider.Live, Place: true}, "disks": reboot, "protect": live,
			}},
			{Name: kindGuest, Guest: true, RemadeWith: []string{kindMachine}, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Reconfigure, Place: true}, "digest": {Impact: provider.Reconfigure},
			}},
		},
	}
}

// nspawn is the provider for one target.
type nspawn struct {
	home, target string
	opts         options

	mu     sync.Mutex // guards active
	active int        // Creates, Updates and Deletes under way

	starting sync.Mutex // held by who starts the network process
}

func open(o provider.Options) (*nspawn, error) {
	opts, err := parseOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(o.Home) {
		return nil, &provider.Error{Op: "open target " + o.Target, Code: provider.Invalid, Text: "home " + o.Home + " is no absolute path"}
	}
	return &nspawn{home: o.Home, target: o.Target, opts: opts}, nil
}

// store keeps the images of all labs of this user.
func (s *nspawn) store() image.Store { return image.Store{Dir: filepath.Join(s.home, "images")} }

func addr(kind, name string) provider.Addr {
	return provider.Addr{Provider: Name, Kind: kind, Name: name}
}

// networkAddr is the resource of a network.
func networkAddr(name string) provider.Addr { return addr(kindNetwork, name) }

// decode reads attributes, whatever their keys, into a struct with JSON tags.
func decode(a provider.Addr, attrs provider.Attrs, into any) error {
	if err := attrs.Decode(into); err != nil {
		return &provider.Error{Addr: a, Code: provider.Internal, Text: err.Error()}
	}
	return nil
}

// options are a target's own settings; all are optional.
type options struct {
	UplinkCIDR string `json:"uplink_cidr"` // of an uplink for which the lab gives none
	HostAccess bool   `json:"host_access"` // may machines behind an uplink reach services of this host?
	Stop       string `json:"stop"`        // how long a machine may take to shut down by itself
	// Forward leads ports of this host to machines: "127.0.0.1:8080" to "web:80".
	Forward  map[string]string `json:"forward"`
	forwards []site.Entry      // Forward, read
}

const optionsCUE = `
// Options of a target whose provider is "nspawn". All have good defaults.
{
	// Addresses of an uplink for which the lab gives none; by default the first free of
	// 10.0.2.0/24, 192.168.127.0/24 and 172.31.255.0/24.
	uplink_cidr?: =~#"^\d+\.\d+\.\d+\.\d+/\d+$"#
	// Whether machines may reach services on this host's own addresses through an uplink.
	host_access?: bool
	// How long a machine may take to shut down before it is ended by force, e.g. "90s".
	stop?: =~"^[0-9]+(ms|s|m)$"
	// Ports of this host that lead to machines: an address and a port, or a port of the loopback, to
	// "<machine>:<port>", e.g. "127.0.0.1:8080": "web:80". TCP only.
	forward?: {[string]: =~"^[a-z0-9-]+:[0-9]+$"}
}
`

func parseOptions(values map[string]any) (options, error) {
	o := options{Stop: "60s"}
	b, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return o, &provider.Error{Op: "read target options", Code: provider.Invalid, Text: err.Error()}
	}
	return o, nil
}
