// Package gce is the provider for Google Compute Engine: each network of a lab is a VPC with one subnet, so that hosts
// cannot go past the routers; routers are instances that forward; the policy stands in VPC firewall rules and, by the
// machines' seeds, in nftables. The truth is the project; there is no state file.
//
// Read plugin.go (what it is), expand.go (what a lab is made of), provider.go (the verbs), observe.go (what there is).
// firewall.go makes the policy's VPC rules of the rulesets that the routers run.
//
// It must not know plans or their order, CUE, ssh, or any other hypervisor.
package gce

import (
	"net/http"
	"regexp"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Name is the provider's name in specs and addresses.
const Name = "gce"

// The kinds in creation order. Routes come after the machines that they lead to.
const (
	kindNetwork  = "network"
	kindSubnet   = "subnet"
	kindFirewall = "firewall"
	kindNAT      = "nat"
	kindAddress  = "address"
	kindDisk     = "disk"
	kindMachine  = "machine"
	kindRoute    = "route"
	kindGuest    = "guest"
	kindZone     = "zone"   // of Cloud DNS
	kindRecord   = "record" // in one
)

// Plugin returns the provider.
func Plugin() provider.Plugin {
	return provider.Plugin{
		Description: Description(),
		New:         func(o provider.Options) (provider.Provider, error) { return open(o) },
	}
}

// Description is what can be known of the provider without asking it.
func Description() provider.Description {
	live, reboot := provider.Attr{Impact: provider.Live}, provider.Attr{Impact: provider.Reboot}
	reinstall, replace := provider.Attr{Impact: provider.Reinstall}, provider.Attr{Impact: provider.Replace}
	return provider.Description{
		Name: Name, Options: optionsCUE,
		Abilities: []provider.Ability{provider.Dials, provider.Consoles, provider.Diagnoses, provider.Estimates, provider.Expires, provider.Filters, provider.Allots},
		Kinds: []provider.Kind{
			{Name: kindNetwork, Attrs: map[string]provider.Attr{"mtu": reboot}},
			{Name: kindSubnet, RemadeWith: []string{kindNetwork}, Attrs: map[string]provider.Attr{
				"network": replace, "address": replace, "prefix": {Impact: provider.Replace, Lower: provider.Live}, // it only grows
			}},
			{Name: kindFirewall, RemadeWith: []string{kindNetwork}, Attrs: map[string]provider.Attr{
				"network": replace, "from": live, "to": live, "allow": live, "log": live, "priority": live, "disabled": live,
			}},
			{Name: kindNAT, RemadeWith: []string{kindNetwork}, Attrs: map[string]provider.Attr{"network": replace, "nat": live}},
			{Name: kindAddress, Attrs: map[string]provider.Attr{"tier": replace}},
			{Name: kindZone, Attrs: map[string]provider.Attr{"networks": live, "visibility": replace}},
			{Name: kindRecord, RemadeWith: []string{kindZone}, Attrs: map[string]provider.Attr{"zone": replace, "data": live, "ttl": live}},
			{Name: kindDisk, Data: true, Attrs: map[string]provider.Attr{
				"image": reinstall, "type": reinstall, "protect": live, "size": {Impact: provider.Live, Lower: provider.Reinstall},
			}},
			{Name: kindMachine, Machine: true, Seeded: true, RemadeWith: []string{kindSubnet, kindDisk}, Attrs: map[string]provider.Attr{
				"type": reboot, "forwards": replace, "nics": {Impact: provider.Replace, Place: true}, "external": live, "disks": live,
				"gpus": replace, "nested": replace, "metadata": live, "protect": live, "ttl": reboot,
				"power": {Impact: provider.Reboot, Alike: []string{"on", "saved"}},
			}},
			// A route to a machine that was made anew leads nowhere, even if the new one has the old one's name.
			{Name: kindRoute, RemadeWith: []string{kindNetwork, kindMachine}, Attrs: map[string]provider.Attr{
				"network": replace, "to": replace, "via": replace, "priority": replace,
			}},
			{Name: kindGuest, Guest: true, RemadeWith: []string{kindMachine}, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Reconfigure, Place: true}, "digest": {Impact: provider.Reconfigure},
			}},
		},
	}
}

// gce is the provider for one target.
type gce struct {
	target  string
	home    string
	opts    options
	client  *api.Client
	dns     *api.DNS     // nil where nobody knows where it is
	door    *http.Client // with the login, for IAP
	journal *journal
}

// labelValue is what a label's value may be.
var labelValue = regexp.MustCompile(`^[a-z0-9_-]{1,63}$`)

func open(o provider.Options) (*gce, error) {
	opts, err := parseOptions(o.Values)
	if err != nil {
		return nil, err
	}
	if !labelValue.MatchString(o.Target) {
		return nil, &provider.Error{Op: "open target " + o.Target, Code: provider.Invalid,
			Text: "on Compute Engine a target's name becomes a label: up to 63 of a-z, 0-9, \"_\" and \"-\""}
	}
	h := &http.Client{Transport: newTransport(opts, opts.Endpoint)}
	g := &gce{
		target: o.Target, home: o.Home, opts: opts, door: h,
		client:  api.New(opts.Endpoint, opts.Project, h),
		journal: newJournal(o.Home, o.Target),
	}
	if opts.DNSEndpoint != "" {
		g.dns = api.NewDNS(opts.DNSEndpoint, opts.Project, &http.Client{Transport: newTransport(opts, opts.DNSEndpoint)})
	}
	return g, nil
}

// owner is whose the things of a lab are here.
func (g *gce) owner(lab string) owner { return owner{lab, g.target} }

// decode reads attributes into a struct with JSON tags.
func decode(a provider.Addr, attrs provider.Attrs, into any) error {
	if err := attrs.Decode(into); err != nil {
		return &provider.Error{Addr: a, Code: provider.Internal, Text: err.Error()}
	}
	return nil
}
