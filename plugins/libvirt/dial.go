package libvirt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Dial implements provider.Dialer: from the libvirt host it tries all the machine's networks at once, and on each the
// machine's addresses and its IPv6 link-local one, so that it works while addresses change. The first connection wins.
func (v *virt) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	conn, err := v.dial(ctx, e)
	if err != nil {
		return nil, provider.Wrap(fmt.Sprintf("dial port %d of", e.Port), addr(kindMachine, e.Machine), err)
	}
	return conn, nil
}

func (v *virt) dial(ctx context.Context, e provider.Endpoint) (net.Conn, error) {
	ways, err := v.ways(ctx, e)
	if err != nil {
		return nil, err
	}
	won, errs := provider.Race(ctx, len(ways), func(ctx context.Context, way int) (net.Conn, error) {
		return v.host.DialGuest(ctx, ways[way])
	})
	if won != nil {
		return won, nil
	}
	return nil, telling(errs)
}

// ways are the addresses at which the libvirt host may reach an endpoint.
func (v *virt) ways(ctx context.Context, e provider.Endpoint) ([]netip.AddrPort, error) {
	m, err := e.Dialled()
	if err != nil {
		return nil, err
	}
	uplinks, err := uplinkCIDRs(e.Lab, v.opts)
	if err != nil {
		return nil, err
	}
	var ways []netip.AddrPort
	err = v.host.Ask(ctx, "look for machine "+m.Name, func(c *libvirt.Libvirt) error {
		d, err := lookFor(c, e.Lab, m.Name)
		switch {
		case err != nil:
			return err
		case d == nil:
			return &provider.Error{Code: provider.NotFound, Text: "the machine does not exist"}
		case !d.active: // nobody would answer, which takes long to find out
			return &provider.Error{Code: provider.NotFound, Text: "the machine is off"}
		}
		ways = nil // it may be the second try
		for _, a := range d.leased(c) {
			ways = append(ways, netip.AddrPortFrom(a, uint16(e.Port)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, a := range reached(e.Lab, m, uplinks, v.opts) {
		ways = append(ways, netip.AddrPortFrom(a, uint16(e.Port)))
	}
	return ways, nil
}

// reached are the addresses of a machine that the libvirt host may reach, on all its networks.
func reached(l lab.Lab, m lab.Machine, uplinks map[string]netip.Prefix, o options) []netip.Addr {
	var out []netip.Addr
	for _, nic := range m.NICs {
		own := nic.Addr
		if !own.IsValid() && uplinks[nic.Network].IsValid() {
			own = given(addressed(l, nic.Network, uplinks[nic.Network]), nic.Network, m.Name)
		}
		zone := bridgeName(l.Name, nic.Network)
		if b := o.Bridges[nic.Network]; b != "" {
			zone = b
		}
		n, _ := l.Network(nic.Network)
		if n.Adopted != "" { // on a bridge whose name is not ours to know
			zone = ""
		}
		local := lab.LinkLocal(nic.MAC).WithZone(zone)
		if zone == "" {
			local = netip.Addr{}
		} else if a := networkOf(l, n, uplinks[n.Name], o); a.Forward != bridged && !a.linkLocal() {
			local = netip.Addr{} // the host has no IPv6 there
		}
		for _, a := range []netip.Addr{own, nic.Addr6, local} {
			if a.IsValid() {
				out = append(out, a)
			}
		}
	}
	return out
}

// given is the address that a machine of an addressed lab gets by DHCP on the network; zero if none.
func given(l lab.Lab, network, machine string) netip.Addr {
	m, ok := l.Machine(machine)
	if !ok {
		return netip.Addr{}
	}
	n, _ := m.NIC(network)
	return n.Addr
}

// telling is one error of many: what is more than silence says more.
func telling(errs []error) error {
	for _, err := range errs {
		if code := provider.CodeOf(err); code != provider.Timeout && code != provider.Canceled {
			return err
		}
	}
	return errors.Join(errs...)
}
