package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Matrix is who reaches whom by what, from the proof: all of it, by usual ways. What machines get their addresses by and
// labctl's own way in are left out (nft.Origin.Chore).
type Matrix struct {
	Groups []Group `json:"groups"` // the world last
	// Cells[i][j] are the services that every one of group i opens on every other of group j. It is nil where there is
	// nobody to ask: within a group of one.
	Cells [][][]string `json:"cells"`
}

// Group is machines that are alike: on the same networks, in the same groups, and named nowhere by themselves.
type Group struct {
	Name     string   `json:"name"`     // the machine's; of several the first one's; or "world"
	Machines []string `json:"machines"` // sorted; none is the world
}

// Matrix asks everything of everybody. Its cost grows with the square of the number of groups, not of machines.
func (p *Proof) Matrix() Matrix {
	m := Matrix{Groups: p.groups()}
	if len(p.outside.ifaces) > 0 {
		m.Groups = append(m.Groups, Group{Name: "world", Machines: []string{}})
	}
	m.Cells = make([][][]string, len(m.Groups))
	for i, from := range m.Groups {
		m.Cells[i] = make([][]string, len(m.Groups))
		for j, to := range m.Groups {
			target := to.Name
			if i == j {
				if len(to.Machines) < 2 {
					continue
				}
				target = to.Machines[1]
			}
			m.Cells[i][j] = p.opens(from.Name, target)
		}
	}
	return m
}

// groups are the machines of the lab by how they are alike, in the order of their first ones.
func (p *Proof) groups() []Group {
	var out []Group
	at := map[string]int{}
	for _, kind := range p.kinds() {
		i, seen := at[kind.key]
		if !seen {
			i = len(out)
			at[kind.key] = i
			out = append(out, Group{Name: kind.name})
		}
		out[i].Machines = append(out[i].Machines, kind.name)
	}
	return out
}

// kindred is a machine, and what it is the same kind as.
type kindred struct{ name, key string }

// kinds says of every machine what it has in common with others that nothing in the lab tells it from: exchanging two
// of one kind changes nothing about who reaches whom, but for their addresses. Routers, and machines that anything
// names, are each of their own kind.
func (p *Proof) kinds() []kindred {
	named := p.named()
	out := make([]kindred, 0, len(p.lab.Machines))
	for i := range p.lab.Machines {
		m := &p.lab.Machines[i]
		k := kindred{m.Name, m.Name}
		if !m.Router && !named[m.Name] && !p.singled(m) {
			var b strings.Builder
			for _, nic := range m.NICs {
				fmt.Fprint(&b, nic.Network, nic.Addr.IsValid(), nic.Addr.Is6(), nic.Addr6.IsValid(), " ")
			}
			k.key = fmt.Sprint(b.String(), m.Firewall, m.Groups, p.nodes[m.Name].filter != nil)
		}
		out = append(out, k)
	}
	return out
}

// named are the names that the policy, what is published, and what is implied and expected use.
func (p *Proof) named() map[string]bool {
	out := map[string]bool{}
	add := func(lists ...[]string) {
		for _, all := range lists {
			for _, s := range all {
				out[s] = true
			}
		}
	}
	for _, r := range p.lab.Policy {
		add(r.From, r.To)
	}
	for i := range p.lab.Machines {
		if r := p.lab.Machines[i].Routing; r != nil {
			for _, d := range r.Publish {
				add([]string{d.Machine})
			}
		}
	}
	if p.lab.Implied != nil {
		add(p.lab.Implied.DNS, p.lab.Implied.NTP, p.lab.Implied.Jump)
	}
	return out
}

// opens are the services that are open by a usual way, whatever the address.
func (p *Proof) opens(from, to string) []string {
	all, err := p.Query(from, to, lab.Service{Proto: lab.Any})
	if err != nil {
		return nil
	}
	var protos values
	open := map[uint16]values{}
	for _, v := range all {
		if !v.Allowed || !v.Usual || v.Decision.Origin.Chore() || len(ephemeral.minus(v.orig.sport)) > 0 {
			continue
		}
		for _, proto := range []uint16{tcp, udp} {
			if v.orig.proto.has(proto) {
				open[proto] = append(open[proto], v.now.dport...)
			}
		}
		for _, r := range v.orig.proto {
			protos = append(protos, r)
		}
	}
	return said(protos.join(), open)
}

// said is open protocols and ports in the words of a policy.
func said(protos values, open map[uint16]values) []string {
	whole := func(proto uint16) bool { return len(values{{1, 65535}}.minus(open[proto].join())) == 0 }
	echo := protos.has(icmp) || protos.has(icmpv6)
	if whole(tcp) && whole(udp) && echo && protos.has(0) {
		return []string{string(lab.Any)}
	}
	out := []string{}
	for _, proto := range []struct {
		number uint16
		name   lab.Proto
	}{{tcp, lab.TCP}, {udp, lab.UDP}} {
		if whole(proto.number) {
			out = append(out, string(proto.name))
			continue
		}
		for _, r := range open[proto.number].join() {
			if s := (lab.Service{Proto: proto.name, From: max(r.from, 1), To: r.to}); s.To > 0 {
				out = append(out, s.String())
			}
		}
	}
	if echo {
		out = append(out, string(lab.ICMP))
	}
	return slices.Clip(out)
}
