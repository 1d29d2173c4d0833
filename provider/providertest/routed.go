package providertest

import (
	"net/netip"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Routed is a routed lab of the images of l and machines like its first: an uplink, a perimeter of both families behind
// a router, and an internal network behind another router, which gives it its addresses; a policy and a published port.
func Routed(l lab.Lab) lab.Lab {
	l = clone(l)
	machine := func(name string, router *lab.Routing, nics ...string) lab.Machine {
		m := clone(l).Machines[0]
		m.Name, m.Router, m.Routing, m.NICs, m.Disks = name, router != nil, router, nil, m.Disks[:1]
		for _, n := range nics {
			m.NICs = append(m.NICs, lab.NIC{Network: n, Link: lab.Up})
		}
		return m
	}
	prefix, addr := netip.MustParsePrefix, netip.MustParseAddr
	ssh, web := lab.Service{Proto: lab.TCP, From: 22, To: 22}, lab.Service{Proto: lab.TCP, From: 80, To: 80}
	host := machine("host", nil, "internal")
	host.Firewall, host.Groups = true, []string{"app"}
	return lab.Arrange(lab.Lab{
		Name: l.Name, Domain: l.Domain, Target: l.Target, Images: used(l.Images, host.Image),
		Networks: []lab.Network{
			{Name: "uplink", Uplink: true, CIDR: prefix("10.198.0.0/24"), MTU: 1500},
			{Name: "perimeter", CIDR: prefix("10.198.1.0/24"), CIDR6: lab.ULA(l.Name, "perimeter"), MTU: 1500},
			{Name: "internal", CIDR: prefix("10.198.2.0/24"), Assign: lab.DHCP, DHCP: &lab.Range{From: addr("10.198.2.200"), To: addr("10.198.2.220")}, MTU: 1500},
		},
		Machines: []lab.Machine{
			machine("edge", &lab.Routing{Masquerade: []string{"uplink"}, DNS: []string{"perimeter"}, Publish: []lab.Publish{{Proto: lab.TCP, Port: 8080, Machine: "host", To: 80, Path: "routers.edge.publish"}}}, "uplink", "perimeter"),
			host,
			machine("inner", &lab.Routing{DHCP: []string{"internal"}, DNS: []string{"internal"}}, "internal", "perimeter"),
		},
		Policy: []lab.Rule{{Name: "admin", From: []string{"perimeter"}, To: []string{"app"}, Allow: []lab.Service{ssh}, Path: "policy.admin"}},
		Expect: []lab.Expectation{{From: []string{"world"}, Never: true, Services: []lab.Service{web}, On: []string{"edge"}, Path: "expect.0"}},
	})
}

func used(images []lab.Image, name string) []lab.Image {
	for _, i := range images {
		if i.Name == name {
			return []lab.Image{i}
		}
	}
	return nil
}

// reroutings are changes of Routed.
func reroutings() []Edit {
	machine := func(l *lab.Lab, name string) *lab.Machine {
		for i := range l.Machines {
			if l.Machines[i].Name == name {
				return &l.Machines[i]
			}
		}
		return nil
	}
	return []Edit{
		{"another rule", func(l *lab.Lab) {
			l.Policy = append(l.Policy, lab.Rule{Name: "web", From: []string{"any"}, To: []string{"host"}, Allow: []lab.Service{{Proto: lab.TCP, From: 80, To: 80}}, Path: "policy.web"})
		}},
		{"nothing is hidden", func(l *lab.Lab) {
			l.Networks[indexOf(l, "uplink")].Routed = true
			machine(l, "edge").Routing.Masquerade = nil
		}},
		{"the router gives no addresses any more", func(l *lab.Lab) {
			l.Networks[indexOf(l, "internal")].Assign = ""
			machine(l, "inner").Routing.DHCP = nil
		}},
		{"the perimeter is the uplink, without a router", func(l *lab.Lab) {
			l.Machines, l.Networks = l.Machines[1:], l.Networks[:2] // edge and uplink are first and last by name
			l.Networks[indexOf(l, "perimeter")].Uplink = true
		}},
		{"a network behind a new router", func(l *lab.Lab) {
			l.Networks = append(l.Networks, lab.Network{Name: "third", CIDR: netip.MustParsePrefix("10.198.3.0/24"), CIDR6: lab.ULA(l.Name, "third"), MTU: 1500})
			m := *machine(l, "inner")
			m.Name, m.Routing, m.NICs = "outer", &lab.Routing{}, []lab.NIC{{Network: "uplink", Link: lab.Up}, {Network: "third", Link: lab.Up}}
			l.Machines = append(l.Machines, m)
			*l = lab.Arrange(*l)
		}},
	}
}

func indexOf(l *lab.Lab, network string) int {
	for i, n := range l.Networks {
		if n.Name == network {
			return i
		}
	}
	return -1
}

// routed makes a routed lab, every rerouting and back, and checks the law each time: no provider may leave routers out.
func routed(t *testing.T, o Options) {
	fit := o.Fit
	if fit == nil {
		fit = func(l lab.Lab) lab.Lab { return l }
	}
	o.Lab = fit(Routed(o.Lab))
	w, options := o.world(t)
	t.Cleanup(func() {
		w.l = o.Lab
		w.clear(t)
		o.gone(t, options)
	})
	want := w.desired(t)
	w.create(t, want...)
	w.law(t, "after creating a routed lab", want)
	for _, c := range w.converge(t).updates {
		t.Errorf("the law: there is nothing to change: %s, %v", c.after.Addr, c.attrs)
	}
	for _, e := range reroutings() {
		t.Run(e.Name, func(t *testing.T) {
			w.l = clone(o.Lab)
			e.Change(&w.l)
			w.l = fit(w.l)
			if _, err := w.p.Expand(w.l, o.seeds(w.l)); provider.CodeOf(err) == provider.Unsupported {
				t.Logf("refused with a reason, which is all that is promised: %v", err)
				return
			}
			w.step(t, "after the change", map[string]bool{}, map[string]string{})
			w.l = o.Lab
			w.step(t, "after taking the change back", map[string]bool{}, map[string]string{})
		})
	}
}
