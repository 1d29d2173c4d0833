package reach

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// num is an address as a number; IPv4 is where RFC 4291 maps it, so both families live in one line of numbers.
type num struct{ hi, lo uint64 }

func numOf(a netip.Addr) num {
	b := a.As16()
	return num{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func (n num) addr() netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], n.hi)
	binary.BigEndian.PutUint64(b[8:], n.lo)
	return netip.AddrFrom16(b).Unmap()
}

func (n num) less(m num) bool { return n.hi < m.hi || n.hi == m.hi && n.lo < m.lo }

func (n num) next() num {
	lo, carry := bits.Add64(n.lo, 1, 0)
	return num{n.hi + carry, lo}
}

func (n num) prev() num {
	lo, borrow := bits.Sub64(n.lo, 1, 0)
	return num{n.hi - borrow, lo}
}

// span is an inclusive range of addresses.
type span struct{ from, to num }

// addrs is a set of addresses: spans sorted, apart from each other. A nil one is empty. Sets are never changed.
type addrs []span

var (
	all4  = prefixes(netip.MustParsePrefix("0.0.0.0/0"))
	all6  = prefixes(netip.MustParsePrefix("::/0")).minus(all4)
	links = prefixes(linkLocal)
	// special are addresses that no packet to or from one machine elsewhere has.
	special = prefixes(netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("224.0.0.0/3"),
		netip.MustParsePrefix("::/127"), netip.MustParsePrefix("ff00::/8"), linkLocal)
)

// linkLocal is how machines on one wire find each other by IPv6.
var linkLocal = netip.MustParsePrefix("fe80::/10")

func universe(v6 bool) addrs {
	if v6 {
		return all6
	}
	return all4
}

func one(a netip.Addr) addrs { n := numOf(a); return addrs{{n, n}} }

// prefixes is the union of prefixes, which may lie within each other.
func prefixes(ps ...netip.Prefix) addrs {
	out := make(addrs, 0, len(ps))
	for _, p := range ps {
		first := numOf(p.Masked().Addr())
		free := p.Addr().BitLen() - p.Bits()
		last := first
		if free >= 64 {
			last.lo = ^uint64(0)
			last.hi |= 1<<(free-64) - 1
		} else {
			last.lo |= 1<<free - 1
		}
		out = append(out, span{first, last})
	}
	return join(out)
}

// join sorts spans and puts together those that touch.
func join(all []span) addrs {
	slices.SortFunc(all, func(a, b span) int {
		if a.from.less(b.from) {
			return -1
		}
		if b.from.less(a.from) {
			return 1
		}
		return 0
	})
	var out addrs
	for _, s := range all {
		n := len(out)
		if n > 0 && (!out[n-1].to.less(s.from) || out[n-1].to.next() == s.from) {
			if out[n-1].to.less(s.to) {
				out[n-1].to = s.to
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

func union(sets ...addrs) addrs {
	var all []span
	for _, s := range sets {
		all = append(all, s...)
	}
	return join(all)
}

func (a addrs) and(b addrs) addrs {
	var out addrs
	for len(a) > 0 && len(b) > 0 {
		from, to := a[0].from, a[0].to
		if from.less(b[0].from) {
			from = b[0].from
		}
		if b[0].to.less(to) {
			to = b[0].to
		}
		if !to.less(from) {
			out = append(out, span{from, to})
		}
		if a[0].to.less(b[0].to) {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// meets says whether a and b have an address in common.
func (a addrs) meets(b addrs) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].to.less(b[0].from):
			a = a[1:]
		case b[0].to.less(a[0].from):
			b = b[1:]
		default:
			return true
		}
	}
	return false
}

func (a addrs) minus(b addrs) addrs {
	var out addrs
	for _, s := range a {
		for len(b) > 0 && b[0].to.less(s.from) {
			b = b[1:]
		}
		rest, gone := s, false
		for _, cut := range b {
			if rest.to.less(cut.from) {
				break
			}
			if rest.from.less(cut.from) {
				out = append(out, span{rest.from, cut.from.prev()})
			}
			if !cut.to.less(rest.to) {
				gone = true
				break
			}
			rest.from = cut.to.next()
		}
		if !gone {
			out = append(out, rest)
		}
	}
	return out
}

func (a addrs) has(x num) bool {
	for _, s := range a {
		if !x.less(s.from) && !s.to.less(x) {
			return true
		}
	}
	return false
}

// values is a set of 16-bit numbers: ports, ICMP types and protocols; as addrs.
type values []ports

type ports struct{ from, to uint16 }

var everyPort = values{{0, 65535}}

func only(n ...uint16) values {
	slices.Sort(n)
	var out values
	for _, x := range n {
		out = append(out, ports{x, x})
	}
	return out
}

// join puts ranges in order that may overlap.
func (a values) join() values {
	a = slices.Clone(a)
	slices.SortFunc(a, func(x, y ports) int { return int(x.from) - int(y.from) })
	var out values
	for _, s := range a {
		if n := len(out); n > 0 && int(s.from) <= int(out[n-1].to)+1 {
			out[n-1].to = max(out[n-1].to, s.to)
		} else {
			out = append(out, s)
		}
	}
	return out
}

func (a values) and(b values) values {
	var out values
	for len(a) > 0 && len(b) > 0 {
		if from, to := max(a[0].from, b[0].from), min(a[0].to, b[0].to); from <= to {
			out = append(out, ports{from, to})
		}
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// meets says whether a and b have a number in common.
func (a values) meets(b values) bool {
	for _, x := range a {
		for _, y := range b {
			if x.from <= y.to && y.from <= x.to {
				return true
			}
		}
	}
	return false
}

func (a values) minus(b values) values {
	var out values
	for _, s := range a {
		from, to := int(s.from), int(s.to)
		for _, cut := range b {
			if int(cut.to) < from || int(cut.from) > to {
				continue
			}
			if int(cut.from) > from {
				out = append(out, ports{uint16(from), cut.from - 1})
			}
			from = int(cut.to) + 1
		}
		if from <= to {
			out = append(out, ports{uint16(from), uint16(to)})
		}
	}
	return out
}

func (a values) has(x uint16) bool {
	for _, s := range a {
		if s.from <= x && x <= s.to {
			return true
		}
	}
	return false
}
