package lab

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// MAC is the address of a machine's interface on a network: locally administered, unicast, and the same on every
// host and hypervisor because it is a hash of the three names.
func MAC(lab, machine, network string) string {
	h := sha256.Sum256([]byte("mac\x00" + lab + "\x00" + machine + "\x00" + network))
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", h[0], h[1], h[2], h[3], h[4])
}

// DoorMAC is the hardware address of labctl's own way in on a network (see Door), the same on every hypervisor that
// lets labctl choose it; so that the link-local address it comes from is known beforehand too.
func DoorMAC(lab, network string) string { return MAC(lab, "", network) }

// Doors are the addresses that labctl comes from on a network unless Implied.Admin says otherwise: the door, or on an
// uplink the gateway, of each family, and the link-local address of DoorMAC.
func (l Lab) Doors(n Network) []netip.Addr {
	var out []netip.Addr
	for _, v6 := range []bool{false, true} {
		p, ok := n.Prefix(v6)
		if !ok {
			continue
		}
		a := Door(p)
		if n.Uplink {
			a = Gateway(p)
		}
		if a.IsValid() {
			out = append(out, a)
		}
		if g := Gateway(p); n.Adopted != "" && !n.Uplink && g.IsValid() { // where others' hosts usually are
			out = append(out, g)
		}
	}
	return append(out, LinkLocal(DoorMAC(l.Name, n.Name)))
}

// Admits says whether packet filters let labctl in from an address on a network.
func (l Lab) Admits(n Network, from netip.Addr) bool {
	if l.Implied != nil && len(l.Implied.Admin) > 0 {
		return slices.ContainsFunc(l.Implied.Admin, func(p netip.Prefix) bool { return p.Contains(from) })
	}
	return slices.Contains(l.Doors(n), from)
}

// Gateway is the first usable address of p: the router's place by convention, and on an uplink the target's own. It is
// the zero Addr where p is a single address.
func Gateway(p netip.Prefix) netip.Addr { return offset(p, 1) }

// Door is the last usable address of p: it is kept free for labctl's own way in (see Provider abilities), so a
// lab can be reached without taking an address that a machine or router would want. It is the zero Addr where p is a
// single address. On an IPv4 /31, which has no broadcast address (RFC 3021), it is the first of the two.
func Door(p netip.Prefix) netip.Addr {
	n := size(p)
	last := int64(2) // IPv4: before broadcast
	if p.Addr().Is6() {
		last = 1
	}
	return offsetBig(p, n.Sub(n, big.NewInt(last)))
}

// Broadcast is the last address of an IPv4 prefix.
func Broadcast(p netip.Prefix) netip.Addr {
	n := size(p)
	return offsetBig(p, n.Sub(n, big.NewInt(1)))
}

// Complete returns l with every MAC and address that the spec left open filled in, and its slices sorted. It is
// total: an interface for which no address is left stays without one, which check.Vet reports.
func Complete(l Lab) Lab {
	l.Networks = append([]Network(nil), l.Networks...)
	l.Machines = append([]Machine(nil), l.Machines...)
	l.Images = append([]Image(nil), l.Images...)
	l.Targets = append([]Target(nil), l.Targets...)
	l.Secrets = append([]Secret(nil), l.Secrets...)
	l.Checks = append([]Check(nil), l.Checks...)
	l.Pools = append([]Pool(nil), l.Pools...)
	sort.Slice(l.Networks, func(i, j int) bool { return l.Networks[i].Name < l.Networks[j].Name })
	sort.Slice(l.Machines, func(i, j int) bool { return l.Machines[i].Name < l.Machines[j].Name })
	sort.Slice(l.Images, func(i, j int) bool { return l.Images[i].Name < l.Images[j].Name })
	sort.Slice(l.Targets, func(i, j int) bool { return l.Targets[i].Name < l.Targets[j].Name })
	sort.Slice(l.Checks, func(i, j int) bool { return l.Checks[i].Name < l.Checks[j].Name })
	sort.Slice(l.Pools, func(i, j int) bool { return l.Pools[i].Name < l.Pools[j].Name })
	sort.Slice(l.Secrets, func(i, j int) bool { return l.Secrets[i].Name < l.Secrets[j].Name })
	for i := range l.Machines {
		m := &l.Machines[i]
		m.NICs = append([]NIC(nil), m.NICs...)
		for j := range m.NICs {
			if m.NICs[j].MAC == "" {
				m.NICs[j].MAC = MAC(l.Name, m.Name, m.NICs[j].Network)
			}
			m.NICs[j].MAC = strings.ToLower(m.NICs[j].MAC)
		}
	}
	for _, n := range l.Networks {
		if n.CIDR.IsValid() {
			allocate(l, n)
		}
	}
	installed(l)
	return l
}

// allocate gives an address on n to every interface without one. Each machine starts from a place in the network
// that is a hash of its own name, and takes the next free one in name order; so a machine that comes or goes moves
// another only where their places collide.
func allocate(l Lab, n Network) {
	taken := map[netip.Addr]bool{Gateway(n.CIDR): true, Door(n.CIDR): true}
	for _, m := range l.Machines {
		for _, nic := range m.NICs {
			if nic.Network == n.Name && nic.Addr.IsValid() {
				taken[nic.Addr] = true
			}
		}
	}
	first, count := allocatable(n.CIDR)
	free := func(start uint64) netip.Addr {
		// Of a run of places, all that are taken and the DHCP range as one may be passed, once each or, where the run
		// began within that range, twice.
		for k, passed := uint64(0), 0; k < count && passed <= len(taken)+2; k, passed = k+1, passed+1 {
			a := offset(n.CIDR, first+(start+k)%count)
			switch {
			case n.DHCP.Contains(a):
				k += left(n.CIDR, a, n.DHCP.To, first+count-1)
			case !taken[a]:
				taken[a] = true
				return a
			}
		}
		return netip.Addr{}
	}
	for i := range l.Machines {
		for j := range l.Machines[i].NICs {
			nic := &l.Machines[i].NICs[j]
			if nic.Network != n.Name || nic.Addr.IsValid() || count == 0 || !l.Machines[i].Ours() {
				continue // nobody tells a machine that others made what address to have
			}
			if a, ok := n.autonomous(l.Machines[i], nic.MAC); ok {
				nic.Addr = a
				continue
			}
			h := sha256.Sum256([]byte("addr\x00" + n.Name + "\x00" + l.Machines[i].Name))
			nic.Addr = free(binary.BigEndian.Uint64(h[:8]) % count)
		}
	}
}

// autonomous is the address that a machine gives itself on a network with SLAAC; a router has none.
func (n Network) autonomous(m Machine, mac string) (netip.Addr, bool) {
	if n.Assign != SLAAC || m.Router || !n.CIDR.Addr().Is6() || n.CIDR.Bits() != 64 {
		return netip.Addr{}, false
	}
	link := LinkLocal(mac)
	if !link.IsValid() {
		return netip.Addr{}, false
	}
	b, tail := n.CIDR.Masked().Addr().As16(), link.As16()
	copy(b[8:], tail[8:])
	return netip.AddrFrom16(b), true
}

// ULA is the IPv6 prefix of a network that is given none: unique local (RFC 4193), its 40 bits of global identifier a
// hash of the lab's name and its 16 bits of subnet one of the network's.
func ULA(lab, network string) netip.Prefix {
	site, net := sha256.Sum256([]byte("ula\x00"+lab)), sha256.Sum256([]byte("ula\x00"+lab+"\x00"+network))
	b := [16]byte{0: 0xfd}
	copy(b[1:6], site[:5])
	copy(b[6:8], net[:2])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

// left is how many places follow a up to end, or up to the last place of p that is given away, whichever is first.
func left(p netip.Prefix, a, end netip.Addr, last uint64) uint64 {
	if stop := offset(p, last); end.Compare(stop) > 0 {
		end = stop
	}
	d := new(big.Int).Sub(new(big.Int).SetBytes(end.AsSlice()), new(big.Int).SetBytes(a.AsSlice()))
	return d.Uint64()
}

// allocatable is the part of p that allocate uses, as an offset and a count: not the first ten addresses where the
// network has room to leave those to addresses given by hand, and never the two at either end that clouds reserve.
func allocatable(p netip.Prefix) (first, count uint64) {
	n := size(p)
	total := uint64(1 << 32)
	if n.IsUint64() && n.Uint64() < total {
		total = n.Uint64()
	}
	first = 2
	if total >= 64 {
		first = 10
	}
	if total < first+3 {
		return first, 0
	}
	return first, total - first - 2
}

// Contains says whether a is in r; a nil range contains nothing.
func (r *Range) Contains(a netip.Addr) bool {
	return r != nil && r.From.Compare(a) <= 0 && a.Compare(r.To) <= 0
}

func size(p netip.Prefix) *big.Int {
	return new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits()))
}

func offset(p netip.Prefix, n uint64) netip.Addr { return offsetBig(p, new(big.Int).SetUint64(n)) }

// offsetBig is the n-th address of p, from 0; the zero Addr where p has none.
func offsetBig(p netip.Prefix, n *big.Int) netip.Addr {
	if n.Sign() < 0 || n.Cmp(size(p)) >= 0 {
		return netip.Addr{}
	}
	base := p.Masked().Addr()
	sum := new(big.Int).Add(new(big.Int).SetBytes(base.AsSlice()), n)
	b := make([]byte, base.BitLen()/8)
	sum.FillBytes(b)
	a, _ := netip.AddrFromSlice(b)
	return a
}
