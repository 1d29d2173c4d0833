package libvirt

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// options are a target's own settings; all are optional.
type options struct {
	URI        string            `json:"uri"`
	PoolPath   string            `json:"pool_path"`   // folder of the pools that we make
	Bridges    map[string]string `json:"bridges"`     // uplink -> bridge of the host
	UplinkCIDR string            `json:"uplink_cidr"` // of an uplink for which the lab gives none
	Type       string            `json:"type"`        // "auto", "kvm" or "qemu"
	CPU        string            `json:"cpu"`         // "", "host-model", "host-passthrough", "maximum" or a model
	Machine    string            `json:"machine"`     // "" or QEMU's machine type
	MaxCPUs    int               `json:"max_cpus"`    // up to which CPUs are added while a machine runs; 0 is none
	MaxMemory  string            `json:"max_memory"`  // likewise
	Autostart  bool              `json:"autostart"`
	Capacity   string            `json:"capacity"`   // provider.Judgement
	Overcommit float64           `json:"overcommit"` // how many processors of machines there may be for each of the host's
	Stop       string            `json:"stop"`       // how long a machine may take to power down by itself

	session  bool // URI is an ordinary user's libvirt
	emulated bool // machines are known to be emulated
}

const optionsCUE = `
// Options of a target whose provider is "libvirt". All have good defaults.
{
	// Which libvirt: "qemu:///system" (the default), "qemu:///session", "qemu+ssh://host/system",
	// "qemu+tls://host/system", "qemu+tcp://host/system", with libvirt's own parameters.
	uri?: =~"^[a-z]+(\\+[a-z]+)?://"
	// Folder on the host in which storage pools are made; by default /var/lib/labctl, or
	// ~/.local/share/labctl for a session of this host.
	pool_path?: =~"^/"
	// Uplinks that are a bridge of the host: {lan: "br0"}.
	bridges?: [string]: =~"^[^ /]{1,15}$"
	// Addresses of an uplink for which the lab gives none; by default a network of 10.128.0.0/9.
	uplink_cidr?: =~#"^\d+\.\d+\.\d+\.\d+/\d+$"#
	// "auto" is KVM where the host has it, else emulation.
	type?: "auto" | "kvm" | "qemu"
	// "host-model", "host-passthrough", "maximum", or a model of QEMU's; by default "host-model" with KVM, else
	// "maximum".
	cpu?: =~"^[A-Za-z0-9_.-]+$"
	// QEMU's machine type, e.g. "q35" or "pc-q35-7.2".
	machine?: =~"^[a-z0-9_.-]+$"
	// Up to how many CPUs and how much memory a machine may get while it runs. By default a change of either is a
	// reboot; of an emulated machine's CPUs always.
	max_cpus?:   int & >=1
	max_memory?: =~"^[0-9]+ ?(MiB|GiB|TiB)$"
	// Start machines when the host starts.
	autostart?: bool
	// How long a machine may take to shut down before it is powered off, e.g. "90s".
	stop?: =~"^[0-9]+(ms|s|m)$"
	// What is done about machines that have no room on the host: "refuse" (the default), "warn", or "off".
	capacity?: "refuse" | "warn" | "off"
	// How many processors of machines there may be for each of the host's; 16 by default.
	overcommit?: number & >0
}
`

func parseOptions(values map[string]any) (options, error) {
	o := options{URI: "qemu:///system", Type: "auto", Stop: "75s"}
	b, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	if err == nil {
		err = o.check()
	}
	if err != nil {
		var e *provider.Error
		if errors.As(err, &e) {
			return o, provider.Wrap("read target options", provider.Addr{}, err)
		}
		return o, &provider.Error{Op: "read target options", Code: provider.Invalid, Text: err.Error()}
	}
	return o, nil
}

// check says which option makes no sense, and fills in the default of pool_path.
func (o *options) check() error {
	u, err := uri.Parse(o.URI)
	if err != nil {
		return err
	}
	o.session, o.emulated = u.Session(), o.Type == typeQEMU || o.Type == "auto" && os.Getenv("LABCTL_ACCEL") == "tcg"
	switch o.Type {
	case "auto", typeKVM, typeQEMU:
	default:
		return fmt.Errorf("type %q is none of auto, kvm, qemu", o.Type)
	}
	whose := map[string]string{}
	for network, name := range o.Bridges {
		if other := whose[name]; other != "" {
			return fmt.Errorf("bridges: %s is both %s and %s", name, min(network, other), max(network, other))
		}
		whose[name] = network
	}
	if o.UplinkCIDR != "" {
		p, err := netip.ParsePrefix(o.UplinkCIDR)
		if err != nil || !p.Addr().Is4() || p != p.Masked() || p.Bits() > 29 {
			return fmt.Errorf("uplink_cidr %q is no IPv4 network such as \"10.0.2.0/24\", at least a /29", o.UplinkCIDR)
		}
	}
	if d, err := time.ParseDuration(o.Stop); err != nil || d < 0 {
		return fmt.Errorf("stop %q is no duration such as \"90s\"", o.Stop)
	}
	if o.MaxMemory != "" {
		if b, err := lab.ParseBytes(o.MaxMemory); err != nil || b%lab.MiB != 0 {
			return fmt.Errorf("max_memory %q is no size such as \"8GiB\"", o.MaxMemory)
		}
	}
	if o.MaxCPUs < 0 || o.MaxCPUs > pc.MaxCPUs {
		return fmt.Errorf("max_cpus %d; machines have 1 to %d", o.MaxCPUs, pc.MaxCPUs)
	}
	switch {
	case o.PoolPath != "" && !filepath.IsAbs(o.PoolPath):
		return fmt.Errorf("pool_path %q is no absolute path", o.PoolPath)
	case o.PoolPath != "":
		o.PoolPath = filepath.Clean(o.PoolPath)
	case !u.Session():
		o.PoolPath = "/var/lib/labctl"
	case !u.Local():
		return fmt.Errorf("a session of another host (%s) needs the option pool_path", o.URI)
	default:
		home, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("pool_path has no default: %w", err)
		}
		o.PoolPath = filepath.Join(home, ".local/share/labctl")
	}
	return nil
}

// stopAfter is how long a machine may take to shut down by itself.
func (o options) stopAfter() time.Duration {
	d, _ := time.ParseDuration(o.Stop) // checked by check
	return d
}

// most is up to how much a machine that has n CPUs and mem memory may get while it runs. An emulated one gets no more
// CPUs: QEMU 7.2 crashes over it (tcg_region_initial_alloc).
func (o options) most(n int, mem lab.Bytes) (cpus int, memory lab.Bytes) {
	limit, _ := lab.ParseBytes(o.MaxMemory) // checked by check; "" is 0
	if o.emulated {
		return n, max(mem, limit)
	}
	return max(n, o.MaxCPUs), max(mem, limit)
}
