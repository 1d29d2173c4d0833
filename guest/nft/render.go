package nft

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Render is the ruleset in the syntax of nft -f. Loading it replaces the table in one transaction: there is no moment
// without rules, open connections go on, since connection tracking is not touched, and no other table is either.
//
// It needs nftables 0.9.8 and Linux 5.2 (NAT in the inet family), see https://wiki.nftables.org.
func (r Ruleset) Render() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# The packet filter of %s, made by labctl from the lab's policy.\n", r.Machine)
	fmt.Fprintf(&b, "table inet %s {\n}\ndelete table inet %s\ntable inet %s {\n", Table, Table, Table)
	for i, c := range r.Chains {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "\tchain %s {\n\t\ttype %s; policy %s;\n", c.Name, c.hook(), policy(c.Drop))
		for _, rule := range c.Rules {
			fmt.Fprintf(&b, "\t\t%s\n", rule)
		}
		b.WriteString("\t}\n")
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func policy(drop bool) string {
	if drop {
		return "drop"
	}
	return "accept"
}

func (c Chain) hook() string {
	kind := "filter"
	if c.NAT {
		kind = "nat"
	}
	at := map[Hook]string{
		Early: "hook prerouting priority -300", Arrive: "hook prerouting priority -100",
		Input: "hook input priority 0", Forward: "hook forward priority 0", Leave: "hook postrouting priority 100",
	}[c.Hook]
	return kind + " " + at
}

// String is the rule in nft's syntax.
func (r Rule) String() string {
	words := r.Match.words()
	if r.Log {
		words = append(words, fmt.Sprintf("log prefix %q", prefix(r.Origin)))
	}
	words = append(words, "counter")
	switch r.Action {
	case DNAT:
		words = append(words, "dnat "+ip(r.Match.V6)+" to "+r.To.String())
	default:
		words = append(words, string(r.Action))
	}
	return strings.Join(append(words, fmt.Sprintf("comment %q", r.Origin.Comment())), " ")
}

func (m Match) words() []string {
	var w []string
	add := func(s string) { w = append(w, s) }
	if len(m.In) > 0 {
		add("iifname " + interfaces(m.In))
	}
	if len(m.Out) > 0 {
		add("oifname " + interfaces(m.Out))
	}
	if m.Family && len(m.Src.Prefixes)+len(m.Dst.Prefixes) == 0 {
		add("meta nfproto " + map[bool]string{false: "ipv4", true: "ipv6"}[m.V6])
	}
	if len(m.Src.Prefixes) > 0 {
		add(ip(m.V6) + " saddr " + m.Src.String())
	}
	if len(m.Dst.Prefixes) > 0 {
		add(ip(m.V6) + " daddr " + m.Dst.String())
	}
	if m.Local {
		add("fib daddr type local")
	}
	switch {
	case m.Proto == lab.ICMP:
		name := map[bool]string{false: "icmp", true: "icmpv6"}[m.V6]
		if len(m.Dport) == 0 {
			add("meta l4proto " + name)
		} else {
			add(name + " type " + ports(m.Dport))
		}
	case m.Proto != "" && len(m.Sport)+len(m.Dport) == 0:
		add("meta l4proto " + string(m.Proto))
	case m.Proto != "":
		if len(m.Sport) > 0 {
			add(string(m.Proto) + " sport " + ports(m.Sport))
		}
		if len(m.Dport) > 0 {
			add(string(m.Proto) + " dport " + ports(m.Dport))
		}
	}
	if len(m.State) > 0 {
		add("ct state " + states(m.State))
	}
	if m.DNATed {
		add("ct status dnat")
	}
	return w
}

func states(s []State) string {
	var out []string
	for _, x := range s {
		out = append(out, string(x))
	}
	return strings.Join(out, ",")
}

func ip(v6 bool) string {
	if v6 {
		return "ip6"
	}
	return "ip"
}

func (a Addrs) String() string {
	var out []string
	for _, p := range a.Prefixes {
		if p.IsSingleIP() {
			out = append(out, p.Addr().String())
		} else {
			out = append(out, p.String())
		}
	}
	s := "{ " + strings.Join(out, ", ") + " }"
	if a.Not {
		return "!= " + s
	}
	return s
}

func ports(all []Ports) string {
	var out []string
	for _, p := range all {
		if p.From == p.To {
			out = append(out, fmt.Sprint(p.From))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", p.From, p.To))
		}
	}
	return "{ " + strings.Join(out, ", ") + " }"
}

func interfaces(networks []string) string {
	var out []string
	for _, n := range networks {
		out = append(out, `"`+Interface(n)+`"`)
	}
	if len(out) == 1 {
		return out[0]
	}
	return "{ " + strings.Join(out, ", ") + " }"
}

// Interface is the name that the interface on a network has inside a machine with a ruleset: the network's own where
// Linux takes it (15 characters) and nothing else could have it, else "net-" and a hash of it. Whoever configures the
// machine gives the interface with the network's MAC this name.
func Interface(network string) string {
	if network == Loopback {
		return "lo"
	}
	kernel := false
	for _, p := range []string{"lo", "eth", "en", "wl", "ww", "ib", "sit", "tun", "tap", "all", "default", "docker", "veth", "br-", "net-"} {
		kernel = kernel || strings.HasPrefix(network, p)
	}
	if len(network) <= 15 && !kernel {
		return network
	}
	h := sha256.Sum256([]byte(network))
	return fmt.Sprintf("net-%x", h[:5])
}

// Loopback stands in Match.In for the machine's own loopback interface; no network can have that name.
const Loopback = "(lo)"

// Comment is the rule's comment in the running ruleset, by which its counter is found again: at most 128 bytes. Where the
// rule stands in the spec is not in it: one more rule before it would change it in every machine.
func (o Origin) Comment() string { return limit(string(o.Kind)+": "+o.called(), 120) }

// called is the rule's name, or what it says where it has none.
func (o Origin) called() string { return cmp.Or(o.Says, o.Name) }

// prefix of log lines: the kernel takes at most 127 bytes.
func prefix(o Origin) string { return limit("labctl "+o.called(), 100) + ": " }

// limit cuts s and leaves out what cannot stand in a quoted string of nft, which knows no escapes.
func limit(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	return s[:min(len(s), n)]
}

// Single is a prefix of one address.
func Single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }
