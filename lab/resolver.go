package lab

import (
	"encoding/json"
	"net/netip"
	"slices"
)

// metadata is where a cloud answers each of its machines by itself, names included: on every interface, whatever stands
// between the machine and others (https://cloud.google.com/compute/docs/internal-dns).
var metadata = netip.AddrFrom4([4]byte{169, 254, 169, 254})

// Resolver is the name server of all machines where the lab's target answers for its names itself (its option dns is
// "cloud"); the zero Addr where the lab does, by its own means. It is reached by the first address of a network, which
// is the cloud's there.
func (l Lab) Resolver() netip.Addr {
	i := slices.IndexFunc(l.Targets, func(t Target) bool { return t.Name == l.Target })
	if i < 0 {
		return netip.Addr{}
	}
	var o struct {
		DNS any `json:"dns"`
	}
	if json.Unmarshal(l.Targets[i].Options, &o) != nil || o.DNS != "cloud" {
		return netip.Addr{} // whoever checks the options says what is wrong
	}
	return metadata
}
