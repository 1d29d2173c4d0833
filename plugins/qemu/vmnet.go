package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/vmnet"
)

// checkVMNet says what of the option vmnet makes no sense by itself.
func checkVMNet(all map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if filepath.IsAbs(all[name]) {
			continue
		}
		if _, err := vmnet.Parse(all[name]); err != nil {
			return fmt.Errorf("vmnet: %s: %w, and no absolute path of a socket", name, err)
		}
	}
	return nil
}

// knownVMNet refuses names in the option vmnet that no network of the lab has.
func knownVMNet(l lab.Lab, o options) error {
	for _, name := range slices.Sorted(maps.Keys(o.VMNet)) {
		if _, ok := l.Network(name); !ok {
			return &provider.Error{Op: "expand", Code: provider.Invalid, Text: fmt.Sprintf("the target's option vmnet: the lab has no network %q", name)}
		}
	}
	return nil
}

// joinVMNet has a network be macOS' own, where the option vmnet says so: the switch is a port of that, and what macOS gives
// there labctl does not: addresses for strangers, names, and on an uplink the way out.
func joinVMNet(l lab.Lab, n lab.Network, o options, a networkAttrs) (networkAttrs, error) {
	segment := o.VMNet[n.Name]
	if segment == "" {
		return a, nil
	}
	if field, why := unjoinable(l, n, segment); why != "" {
		return a, &provider.Error{Op: "expand", Addr: networkAddr(n.Name), Code: provider.Unsupported,
			Text: fmt.Sprintf("%s: with vmnet %q %s", lab.Path("networks", n.Name, field), segment, why)}
	}
	a.Uplink, a.DHCP, a.Leases, a.Records, a.HostAccess = false, nil, nil, nil, false
	a.Join = []string{segment}
	return a, nil
}

// unjoinable is why a network cannot be one of macOS', and the field that is in the way; "" if it can.
func unjoinable(l lab.Lab, n lab.Network, segment string) (field, why string) {
	own := map[string]string{string(vmnet.Shared): vmnet.SharedCIDR, string(vmnet.Host): vmnet.HostCIDR}[segment]
	if own == "" {
		own = "the network that it leads to"
	}
	outside := segment == string(vmnet.Shared) || strings.HasPrefix(segment, "bridged:")
	switch {
	case outside && !n.Uplink:
		return "uplink", "it leads outside: it must be true"
	case segment == string(vmnet.Host) && n.Uplink:
		return "uplink", "it leads nowhere: it must not be true"
	case !n.CIDR.IsValid() || !n.CIDR.Addr().Is4():
		return "cidr", "its IPv4 addresses must be given: those of " + own
	case n.CIDR6.IsValid():
		return "cidr6", "it has no IPv6 of the lab's: macOS gives its own"
	case n.MTU > defaultMTU:
		return "mtu", "it is at most 1500"
	case n.DHCP != nil:
		return "dhcp", "addresses are given by others"
	case n.Netboot != "":
		return "netboot", "addresses are given by others, so nobody starts from here"
	}
	for _, m := range l.Machines {
		if nic, ok := m.NIC(n.Name); ok && nic.Addr == lab.Gateway(n.CIDR) && segment != string(vmnet.Shared) && !outside {
			return "cidr", fmt.Sprintf("macOS itself is at %s, where %s is meant to be", nic.Addr, m.Name)
		}
	}
	return "", ""
}

// canJoin refuses networks of macOS elsewhere.
func canJoin(join []string) error {
	for _, j := range join {
		if !filepath.IsAbs(j) && runtime.GOOS != "darwin" {
			return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("vmnet %q: that is macOS', and this host is none", j)}
		}
	}
	return nil
}

// diagnoseVMNet is about the segments that the option vmnet names; where it names none, about the one most people want.
func (q *qemu) diagnoseVMNet() []provider.Diagnosis {
	names := slices.Compact(slices.Sorted(maps.Values(q.opts.VMNet)))
	bad := provider.Broken
	if len(names) == 0 {
		names, bad = []string{string(vmnet.Shared)}, provider.Warning
	}
	var ds []provider.Diagnosis
	for _, name := range names {
		ds = append(ds, diagnoseSegment(name, bad, knock))
	}
	return ds
}

// knock dials a socket and hangs up.
func knock(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// diagnoseSegment says whether a network of macOS can be joined.
func diagnoseSegment(name string, bad provider.Health, dial func(string) error) provider.Diagnosis {
	d := provider.Diagnosis{Name: "vmnet " + name, Status: provider.Good}
	paths, fix := []string{name}, ""
	if s, err := vmnet.Parse(name); err == nil {
		paths, fix = s.Sockets(), "brew install socket_vmnet && labctl system install-helper --print --segment "+name+" | sudo sh"
	}
	var found []string
	for _, path := range paths {
		err := dial(path)
		switch {
		case err == nil:
			d.Detail = path
			return d
		case errors.Is(err, fs.ErrPermission):
			found = append(found, path+" is there, and not open to this user: its group is (socket_vmnet's --socket-group)")
		case !errors.Is(err, fs.ErrNotExist):
			found = append(found, path+" is there, and nobody answers: "+err.Error())
		}
	}
	d.Status, d.Fix = bad, fix
	if d.Detail = strings.Join(found, "; "); d.Detail == "" {
		d.Detail = "socket_vmnet does not run; looked for " + strings.Join(paths, ", ")
	}
	if bad == provider.Warning {
		d.Detail += " (uplinks use the built-in NAT)"
	}
	return d
}
