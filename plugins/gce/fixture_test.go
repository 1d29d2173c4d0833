package gce

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
)

// zone is where tests make things.
const zone = "europe-west1-b"

// on are the options of a target on a server.
func on(t *testing.T, s *gcetest.Server) provider.Options {
	t.Helper()
	return provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{
		"project": s.Project(), "zone": zone, "endpoint": s.URL,
		"images": map[string]any{"base": "projects/debian-cloud/global/images/family/debian-12", "other": "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64"},
	}}
}

// serve starts a server for one test.
func serve(t *testing.T, o gcetest.Options) *gcetest.Server {
	t.Helper()
	s := gcetest.New(o)
	t.Cleanup(s.Close)
	return s
}

// fit takes out of a lab what a VPC does not have: IPv6 and somebody else's DHCP.
func fit(l lab.Lab) lab.Lab {
	l.Networks, l.Machines = slices.Clone(l.Networks), slices.Clone(l.Machines)
	for i := range l.Networks {
		n := &l.Networks[i]
		n.CIDR6, n.DHCP, n.Assign, n.Routed = netip.Prefix{}, nil, "", false
	}
	for i := range l.Machines {
		m := &l.Machines[i]
		if m.Routing != nil {
			r := *m.Routing
			r.DHCP = nil
			m.Routing = &r
		}
		m.NICs = slices.Clone(m.NICs)
		for j := range m.NICs {
			nic := &m.NICs[j]
			nic.Addr6 = netip.Addr{}
			// Where the lab puts its routers, the VPC has its own gateway.
			n, _ := l.Network(nic.Network)
			if n.CIDR.IsValid() && nic.Addr == lab.Gateway(n.CIDR) {
				nic.Addr = netip.Addr{}
			}
		}
	}
	l.Implied = &lab.Implied{Admin: []netip.Prefix{iap}}
	return lab.Complete(l)
}
