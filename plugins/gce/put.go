package gce

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// describe is the description that marks a resource.
func (g *gce) describe(r provider.Resource) string {
	return g.owner(r.Lab).mark(r.Addr.Kind, r.Addr.Name).description()
}

// networkLink is what others call the VPC of a network of the lab.
func (g *gce) networkLink(lab, network string) string { return g.link(lab, addr(kindNetwork, network)) }

func (g *gce) putNetwork(ctx context.Context, r provider.Resource) error {
	var a networkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	existed, err := g.insert(ctx, r, api.Network{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), MTU: a.MTU, Routing: &api.Routing{Mode: "REGIONAL"},
	})
	if err != nil || !existed {
		return err
	}
	var now api.Network
	if err := g.client.Get(ctx, g.path(r.Lab, r.Addr), &now); err != nil || mtuOf(now) == a.MTU {
		return err
	}
	return g.client.Change(ctx, http.MethodPatch, g.path(r.Lab, r.Addr), nil, map[string]int{"mtu": a.MTU})
}

func (g *gce) putSubnet(ctx context.Context, r provider.Resource) error {
	var a subnetAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	want := fmt.Sprintf("%s/%d", a.Address, a.Prefix)
	existed, err := g.insert(ctx, r, api.Subnet{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), Network: g.networkLink(r.Lab, a.Network), Range: want,
	})
	if err != nil || !existed {
		return err
	}
	var now api.Subnet
	if err := g.client.Get(ctx, g.path(r.Lab, r.Addr), &now); err != nil || now.Range == want {
		return err
	}
	return g.client.Change(ctx, http.MethodPost, g.path(r.Lab, r.Addr)+"/expandIpCidrRange", nil, map[string]string{"ipCidrRange": want})
}

func (g *gce) putFirewall(ctx context.Context, r provider.Resource) error {
	var a firewallAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	want := api.Firewall{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), Network: g.networkLink(r.Lab, a.Network), Direction: "INGRESS",
		Priority: a.Priority, Sources: a.From, Destinations: a.To, Allowed: allowed(a.Allow), Log: &api.Log{Enable: a.Log},
	}
	if want.Destinations == nil {
		want.Destinations = []string{} // all that there were are taken away
	}
	existed, err := g.insert(ctx, r, want)
	if err != nil || !existed {
		return err
	}
	return g.client.Change(ctx, http.MethodPut, g.path(r.Lab, r.Addr), nil, want)
}

// allowed are services as a firewall rule has them.
func allowed(services []string) []api.Allowed {
	var out []api.Allowed
	for _, s := range services {
		proto, port, has := strings.Cut(s, "/")
		i := slices.IndexFunc(out, func(a api.Allowed) bool { return a.Protocol == proto })
		if i < 0 {
			out = append(out, api.Allowed{Protocol: proto})
			i = len(out) - 1
		}
		if has {
			out[i].Ports = append(out[i].Ports, port)
		}
	}
	for i, a := range out {
		if slices.Contains(services, a.Protocol) { // every port
			out[i].Ports = nil
		}
	}
	return out
}

func (g *gce) putNAT(ctx context.Context, r provider.Resource) error {
	var a natAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	want := api.Router{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), Network: g.networkLink(r.Lab, a.Network),
		NATs: []api.NAT{{Name: "nat", Allocate: "AUTO_ONLY", Ranges: "ALL_SUBNETWORKS_ALL_IP_RANGES"}},
	}
	existed, err := g.insert(ctx, r, want)
	if err != nil || !existed {
		return err
	}
	var now api.Router
	if err := g.client.Get(ctx, g.path(r.Lab, r.Addr), &now); err != nil || natOf(now) == a.NAT {
		return err
	}
	return g.client.Change(ctx, http.MethodPatch, g.path(r.Lab, r.Addr), nil, map[string]any{"nats": want.NATs})
}

func (g *gce) putAddress(ctx context.Context, r provider.Resource) error {
	var a addressAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	_, err := g.insert(ctx, r, api.Address{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), Type: "EXTERNAL", Tier: a.Tier, Labels: g.owner(r.Lab).labels(r.Machine, r.Addr.Name),
	})
	return err
}

func (g *gce) putRoute(ctx context.Context, r provider.Resource) error {
	var a routeAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	_, err := g.insert(ctx, r, api.Route{
		Name: api.Base(g.path(r.Lab, r.Addr)), Description: g.describe(r), Network: g.networkLink(r.Lab, a.Network),
		To: a.To, Priority: a.Priority, Instance: g.link(r.Lab, addr(kindMachine, a.Via)),
	})
	return err
}

// The parts of normal forms that need more than a look.

func mtuOf(n api.Network) int {
	if n.MTU == 0 {
		return 1460 // the API's own default
	}
	return n.MTU
}

func natOf(r api.Router) string {
	if len(r.NATs) == 1 && r.NATs[0].Allocate == "AUTO_ONLY" && r.NATs[0].Ranges == "ALL_SUBNETWORKS_ALL_IP_RANGES" {
		return natAll
	}
	return ""
}

// servicesOf are what a firewall rule lets through; whatever labctl never says makes it another rule.
func servicesOf(f api.Firewall) []string {
	var out []string
	for _, a := range f.Allowed {
		if len(a.Ports) == 0 {
			out = append(out, a.Protocol)
		}
		for _, p := range a.Ports {
			out = append(out, a.Protocol+"/"+p)
		}
	}
	if len(f.Denied) > 0 {
		out = append(out, "(something is denied)")
	}
	if len(f.SourceTags)+len(f.TargetTags) > 0 {
		out = append(out, "(by tags)")
	}
	return sorted(out)
}

func subnetOf(network string, s api.Subnet) subnetAttrs {
	a := subnetAttrs{Network: network}
	if p, err := netip.ParsePrefix(s.Range); err == nil {
		a.Address, a.Prefix = p.Addr().String(), p.Bits()
	}
	return a
}
