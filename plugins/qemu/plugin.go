// Package qemu is the provider for QEMU on this host, Linux or macOS, without root: overlay disks on a read-only
// base, one detached QEMU process per machine, and one network process per lab (netd). The truth is the lab's own
// folder and the live processes, asked over QMP; there is no state file.
//
// It must not know plans or their order, CUE, ssh, or any other hypervisor.
package qemu

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/site"
)

// Name is the provider's name in specs and addresses.
const Name = "qemu"

// The kinds in creation order.
const (
	kindImage   = "image"
	kindNetwork = "network"
	kindDisk    = "disk"
	kindMachine = "machine"
	kindGuest   = "guest"
)

// Plugin returns the QEMU provider. The program it is part of must call Main first of all: that is how the network
// process is started.
func Plugin() provider.Plugin {
	return provider.Plugin{
		Description: Description(),
		New:         func(o provider.Options) (provider.Provider, error) { return open(o) },
	}
}

// Main is the plugin's main program: the network process when its first argument is "netd", else what serve makes of
// the provider (rpc.Serve).
func Main(serve func(provider.Plugin)) {
	if len(os.Args) > 1 && os.Args[1] == "netd" {
		os.Exit(netd.Main(os.Args[2:]))
	}
	serve(Plugin())
}

// Description is what can be known of the provider without asking it.
func Description() provider.Description {
	live, reboot := provider.Attr{Impact: provider.Live}, provider.Attr{Impact: provider.Reboot}
	reinstall, replace := provider.Attr{Impact: provider.Reinstall}, provider.Attr{Impact: provider.Replace}
	return provider.Description{
		Name: Name, Options: optionsCUE,
		Abilities: []provider.Ability{provider.Dials, provider.Consoles, provider.Diagnoses, provider.Snapshots, provider.Measures, provider.Starts, provider.Installs},
		Kinds: []provider.Kind{
			{Name: kindImage, Attrs: map[string]provider.Attr{"id": replace, "source": live}},
			{Name: kindNetwork, Attrs: map[string]provider.Attr{
				"name": replace, "key": replace, "mac": live, "cidr": live, "cidr6": live, "forward": live, "uplink": live, "mtu": live, "dhcp": live,
				"leases": live, "records": live, "domain": live, "routes": live, "host_access": live, "join": live, "netboot": live,
			}},
			{Name: kindDisk, Data: true, Attrs: map[string]provider.Attr{
				"image": reinstall, "install": reinstall, "pool": reinstall, "protect": live,
				"size":      {Impact: provider.Live, Lower: provider.Reinstall},
				"boot_size": {Impact: provider.Reboot, Lower: provider.Reinstall},
			}},
			{Name: kindMachine, Machine: true, Seeded: true, RemadeWith: []string{kindDisk}, Attrs: map[string]provider.Attr{
				"arch": replace, "image": reboot, "firmware": reboot, "cpus": reboot, "memory": reboot, "boot": reboot, "nested": reboot,
				"mtu": reboot, "power": {Impact: provider.Reboot, Alike: []string{string(lab.On), string(lab.Saved), string(lab.Suspended)}}, "nics": {Impact: provider.Live, Place: true}, "disks": live, "protect": live,
			}},
			{Name: kindGuest, Guest: true, RemadeWith: []string{kindMachine}, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Reconfigure, Place: true}, "digest": {Impact: provider.Reconfigure},
			}},
		},
	}
}

// qemu is the provider for one target.
type qemu struct {
	home, target string
	opts         options

	mending sync.Mutex // held by who finishes what a restore has left

	mu     sync.Mutex // guards active and hosts
	active int        // Creates, Updates and Deletes under way
	hosts  map[string]host
}

func open(o provider.Options) (*qemu, error) {
	opts, err := parseOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if !filepath.IsAbs(o.Home) {
		return nil, &provider.Error{Op: "open target " + o.Target, Code: provider.Invalid, Text: "home " + o.Home + " is no absolute path"}
	}
	return &qemu{home: o.Home, target: o.Target, opts: opts, hosts: map[string]host{}}, nil
}

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
	Accel      string `json:"accel"`       // "auto", "tcg", "kvm" or "hvf"
	QEMU       string `json:"qemu"`        // prefix of an installation (has bin/ and share/), or ""
	CPU        string `json:"cpu"`         // QEMU's CPU model, or "" for a good one
	UplinkCIDR string `json:"uplink_cidr"` // of an uplink for which the lab gives none
	HostAccess bool   `json:"host_access"` // may machines behind an uplink reach services of this host?
	Stop       string `json:"stop"`        // how long a machine may take to power down by itself
	Capacity   string `json:"capacity"`    // provider.Judgement
	// Overcommit is how many processors of machines there may be for each of the host's; 0 is the contract's default.
	Overcommit float64 `json:"overcommit"`
	// Forward leads ports of this host to machines: "127.0.0.1:8080" to "web:80".
	Forward  map[string]string `json:"forward"`
	forwards []site.Entry      // Forward, read
	// VMNet are the networks of the lab that are macOS' own: a vmnet.Segment, or the path of a socket that is one.
	VMNet map[string]string `json:"vmnet"`
}

const optionsCUE = `
// Options of a target whose provider is "qemu". All have good defaults.
{
	// "auto" tries the hardware with a tiny guest and falls back to emulation.
	accel?: "auto" | "tcg" | "kvm" | "hvf"
	// Prefix of the QEMU installation, e.g. "/opt/homebrew"; by default what PATH finds.
	qemu?: string
	// QEMU's CPU model; by default the host's under hardware acceleration, else "max".
	cpu?: string
	// Addresses of an uplink for which the lab gives none; by default the first free of
	// 10.0.2.0/24, 192.168.127.0/24 and 172.31.255.0/24.
	uplink_cidr?: =~#"^\d+\.\d+\.\d+\.\d+/\d+$"#
	// Whether machines may reach services on this host's own addresses through an uplink.
	host_access?: bool
	// How long a machine may take to shut down before it is powered off, e.g. "90s".
	stop?: =~"^[0-9]+(ms|s|m)$"
	// What is done about machines that have no room on the host: "refuse" (the default), "warn", or "off".
	capacity?: "refuse" | "warn" | "off"
	// How many processors of machines there may be for each of the host's; 16 by default.
	overcommit?: number & >0
	// Ports of this host that lead to machines: an address and a port, or a port of the loopback, to
	// "<machine>:<port>", e.g. "127.0.0.1:8080": "web:80". TCP only.
	forward?: {[string]: =~"^[a-z0-9-]+:[0-9]+$"}
	// Networks of the lab that are macOS' own, by socket_vmnet: "shared" (NAT), "host", "bridged:" and an interface of the
	// Mac, or the path of a socket.
	vmnet?: {[string]: "shared" | "host" | =~"^bridged:[a-z]+[0-9]+$" | =~"^/"}
}
`

func parseOptions(values map[string]any) (options, error) {
	o := options{Accel: "auto", Stop: "75s"}
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
