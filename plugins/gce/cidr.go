package gce

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/guest/nft"
)

// span is an inclusive range of IPv4 addresses.
type span struct{ from, to uint32 }

// spans is a set of IPv4 addresses: sorted, apart from each other.
type spans []span

// everywhere is all of them.
var everywhere = spans{{0, 1<<32 - 1}}

// spansOf is the set that prefixes make; those of IPv6 are left out.
func spansOf(ps ...netip.Prefix) spans {
	var s spans
	for _, p := range ps {
		if p.Addr().Is4() {
			from := number(p.Masked().Addr())
			s = append(s, span{from, from | uint32(1<<(32-p.Bits())-1)})
		}
	}
	return s.normal()
}

// addrsOf is the set that a condition of a ruleset means; one without prefixes is no condition.
func addrsOf(a nft.Addrs) spans {
	switch {
	case len(a.Prefixes) == 0:
		return everywhere
	case a.Not:
		return everywhere.minus(spansOf(a.Prefixes...))
	}
	return spansOf(a.Prefixes...)
}

func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func (s spans) normal() spans {
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var out spans
	for _, x := range s {
		if n := len(out); n > 0 && (out[n-1].to == 1<<32-1 || x.from <= out[n-1].to+1) {
			out[n-1].to = max(out[n-1].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return out
}

func (s spans) or(t spans) spans { return append(slices.Clone(s), t...).normal() }

func (s spans) and(t spans) spans {
	var out spans
	for _, a := range s {
		for _, b := range t {
			if from, to := max(a.from, b.from), min(a.to, b.to); from <= to {
				out = append(out, span{from, to})
			}
		}
	}
	return out.normal()
}

func (s spans) minus(t spans) spans {
	out := s
	for _, b := range t {
		var rest spans
		for _, a := range out {
			if b.to < a.from || b.from > a.to {
				rest = append(rest, a)
				continue
			}
			if a.from < b.from {
				rest = append(rest, span{a.from, b.from - 1})
			}
			if a.to > b.to {
				rest = append(rest, span{b.to + 1, a.to})
			}
		}
		out = rest
	}
	return out
}

// prefixes are the fewest that make the set, as text.
func (s spans) prefixes() []string {
	var out []string
	for _, x := range s {
		for from, to := uint64(x.from), uint64(x.to); from <= to; {
			size := uint64(1) << 32
			if from > 0 {
				size = uint64(1) << bits.TrailingZeros64(from)
			}
			for from+size-1 > to {
				size >>= 1
			}
			out = append(out, netip.PrefixFrom(address(uint32(from)), 32-bits.TrailingZeros64(size)).String())
			from += size
		}
	}
	return out
}

// first cuts prefixes into lists of at most n.
func cut(prefixes []string, n int) [][]string {
	return slices.Collect(slices.Chunk(prefixes, n))
}
