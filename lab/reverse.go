package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// ReverseZones are the zones of the names of a prefix's addresses, without the last dot: the fewest whose edges are those of an
// octet, or of a hexadecimal digit. Of a single address it is its name.
func ReverseZones(p netip.Prefix) []string {
	step, end := 8, "in-addr.arpa"
	if p.Addr().Is6() {
		step, end = 4, "ip6.arpa"
	}
	bits := (p.Bits() + step - 1) / step * step
	raw := p.Masked().Addr().AsSlice()
	var out []string
	for i := range 1 << (bits - p.Bits()) {
		zone := slices.Clone(raw)
		if bits > 0 { // the bits between the prefix's end and the zone's lie in one octet
			zone[(bits-1)/8] |= byte(i << ((8 - bits%8) % 8))
		}
		labels := []string{end}
		for at := 0; at < bits; at += step {
			if step == 8 {
				labels = append(labels, fmt.Sprint(zone[at/8]))
			} else {
				labels = append(labels, fmt.Sprintf("%x", zone[at/8]>>(4-at%8)&0xf))
			}
		}
		slices.Reverse(labels)
		out = append(out, strings.Join(labels, "."))
	}
	return out
}
