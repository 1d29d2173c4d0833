package room

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// ruleset is the room's packet filter: networks are apart from each other, uplinks lead outside, and the room itself
// answers what it serves and nothing else. own are the host's addresses.
func ruleset(all []Network, own []netip.Addr) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("table inet room\ndelete table inet room\ntable inet room {")
	line("chain input { type filter hook input priority 0; policy drop;")
	line("iifname lo accept")
	line("ct state established,related accept")
	line("meta l4proto { icmp, ipv6-icmp } accept")
	for _, n := range all {
		if n.gives() {
			line("iifname %s udp dport 67 accept", bridge(n.Name))
		}
		if n.Uplink {
			line("iifname %s meta l4proto { tcp, udp } th dport 53 accept", bridge(n.Name))
		}
	}
	line("}\nchain forward { type filter hook forward priority 0; policy drop;")
	line("ct state established,related accept")
	for _, n := range all {
		if !n.Uplink {
			continue
		}
		if len(own) > 0 && !n.HostAccess {
			line("iifname %s ip daddr { %s } reject", bridge(n.Name), join(own))
		}
		for _, w := range n.Routes { // the lab's own addresses are nowhere outside
			if !w.Via.IsValid() {
				line("iifname %s %s daddr %s reject", bridge(n.Name), family(w.Prefix), w.Prefix)
			} else {
				line("iifname %s oifname %s %s daddr %s accept", bridge(n.Name), bridge(n.Name), family(w.Prefix), w.Prefix)
			}
		}
		line("iifname %s oifname %s accept", bridge(n.Name), up)
	}
	line("}\nchain postrouting { type nat hook postrouting priority 100;")
	line("oifname %s masquerade\n}\n}", up)
	return b.String()
}

func family(p netip.Prefix) string {
	if p.Addr().Is4() {
		return "ip"
	}
	return "ip6"
}

func join(all []netip.Addr) string {
	words := make([]string, len(all))
	for i, a := range all {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}

// device is the name of an interface of the room: at most 15 bytes, whatever the network is called.
func device(kind, name string) string {
	h := sha256.Sum256([]byte(name))
	return kind + hex.EncodeToString(h[:])[:12]
}

func bridge(network string) string { return device("b-", network) }

// up is the room's interface that leads outside.
const up = "up"
