package gce

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// TestJudge has the contract's judge look at the provider, with an API that lists things and with one that does not.
func TestJudge(t *testing.T) {
	for _, test := range []struct {
		name string
		api  gcetest.Options
	}{
		{"lists", gcetest.Options{}},
		{"no lists", gcetest.Options{NoLists: []string{"*"}}},
		{"older links, small pages", gcetest.Options{Beta: true, PageSize: 2}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			providertest.Test(t, judged(test.api))
		})
	}
}

func judged(api gcetest.Options) providertest.Options {
	l := providertest.Lab()
	office(&l, "10.199.16.0/24") // with room to grow
	l.Policy = []lab.Rule{{Name: "web", From: []string{"world"}, To: []string{"office"}, Allow: []lab.Service{{Proto: lab.TCP, From: 80, To: 80}}, Path: "policy.0"}}
	for i := range l.Machines {
		for j := range l.Machines[i].Disks {
			l.Machines[i].Disks[j].Size = 20 * lab.GiB
		}
	}
	servers := map[string]*gcetest.Server{}
	machine := func(f func(m *lab.Machine)) func(*lab.Lab) { return func(l *lab.Lab) { f(&l.Machines[1]) } }
	return providertest.Options{
		Plugin: Plugin(), Lab: fit(l), Slow: true, Deadline: time.Minute, Fit: fit,
		Options: func(t *testing.T) provider.Options {
			s := serve(t, api)
			o := on(t, s)
			o.Values["dns"] = dnsCloud
			servers[o.Home] = s
			return o
		},
		Edits: []providertest.Edit{
			{Name: "another image", Change: func(l *lab.Lab) {
				l.Images[0].Name = "other"
				for i := range l.Machines {
					l.Machines[i].Image = "other"
				}
			}},
			{Name: "other addresses", Change: func(l *lab.Lab) { office(l, "10.198.1.0/24") }},
			{Name: "gpus", Change: machine(func(m *lab.Machine) { m.GPUs = &lab.GPUs{Type: "nvidia-tesla-t4", Count: 1} })},
			{Name: "a router of a server", Change: machine(func(m *lab.Machine) { m.Router = true })},
			{Name: "a published port", Change: func(l *lab.Lab) {
				l.Machines[0].Routing = &lab.Routing{Publish: []lab.Publish{{Proto: lab.TCP, Port: 80, Machine: "web", To: 80}}}
			}},
			{Name: "a rule that logs", Change: rule(func(r *lab.Rule) { r.Log = true })},
			{Name: "a rule for other services", Change: rule(func(r *lab.Rule) { r.Allow = []lab.Service{{Proto: lab.UDP, From: 53, To: 53}} })},
			{Name: "a rule to somebody else", Change: rule(func(r *lab.Rule) { r.To = []string{"web"} })},
			{Name: "another router leads out", Change: func(l *lab.Lab) {
				m := l.Machines[0]
				m.Name, m.NICs = "a-gate", []lab.NIC{{Network: "out", Link: lab.Up}, {Network: "office", Link: lab.Up}}
				l.Machines = append(l.Machines, m)
				*l = lab.Complete(*l)
			}},
		},
		Gone: func(t *testing.T, o provider.Options, l lab.Lab) { gone(t, servers[o.Home]) },
		Fixed: map[string]string{
			"subnet.network": "is the subnet's name", "firewall.network": "is in its name", "nat.network": "is its name", "nat.nat": "labctl makes one kind only: see TestDrift",
			"address.tier": "labctl makes one kind only", "disk.type": "an option of the target", "machine.ttl": "an option of the target: see TestTTL", "machine.metadata": "always the same: see TestDrift",
			"record.zone": "is in its name", "record.ttl": "an option of the target: see TestNames", "zone.visibility": "labctl makes one kind only",
			"route.network": "is in its name", "route.priority": "always the same", "firewall.priority": "always the same: see TestDrift", "firewall.disabled": "labctl makes none: see TestDrift",
		},
	}
}

func rule(f func(*lab.Rule)) func(*lab.Lab) { return func(l *lab.Lab) { f(&l.Policy[0]) } }

// office moves the judge's inner network.
func office(l *lab.Lab, cidr string) {
	for i := range l.Networks {
		if l.Networks[i].Name == "office" {
			l.Networks[i].CIDR = netip.MustParsePrefix(cidr)
		}
	}
	for i := range l.Machines {
		for j := range l.Machines[i].NICs {
			if nic := &l.Machines[i].NICs[j]; nic.Network == "office" {
				nic.Addr = netip.Addr{}
			}
		}
	}
	*l = lab.Complete(*l)
}

// gone checks that nothing is left of anybody but what was kept of protected disks.
func gone(t *testing.T, s *gcetest.Server) {
	t.Helper()
	for _, name := range s.Names() {
		if !strings.HasPrefix(name, "global/snapshots/") {
			t.Errorf("%s is left", name)
		}
	}
}
