package gce

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// foreign names what others have put into a network of ours: rules that let more through than the policy says, routes
// that lead elsewhere, subnets and routers. It is reported and never deleted.
func (v *view) foreign(network string) string {
	var out []string
	for _, kind := range inNetworks() {
		for _, raw := range v.others[kind] {
			var x struct {
				Name    string `json:"name"`
				Network string `json:"network"`
				Gateway string `json:"nextHopGateway"`
				Local   string `json:"nextHopNetwork"`
			}
			if json.Unmarshal(raw, &x) != nil || api.Base(x.Network) != network {
				continue
			}
			// Every VPC is made with a route to the internet, and each subnet with one to itself.
			if kind == kindRoute && (strings.HasPrefix(x.Name, "default-route-") || x.Local != "") {
				continue
			}
			out = append(out, kind+" "+x.Name)
		}
	}
	return strings.Join(sorted(out), ", ")
}

// inNetworks are the kinds of which everybody's may be in a network of ours.
func inNetworks() []string { return []string{kindFirewall, kindRoute, kindSubnet, kindNAT} }

// usedBy finds the user that the API names: "... is already being used by 'projects/P/zones/Z/instances/I'".
var usedBy = regexp.MustCompile(`being used by '(?:https://[^']*/)?projects/[^/']+/([^']+)'`)

// whose says who the user is that the API's words name. They explain, and decide nothing: others will do as well.
func (g *gce) whose(ctx context.Context, lab string, err error) error {
	var e *api.Error
	if !errors.As(err, &e) || e.Reason != api.InUse {
		return err
	}
	m := usedBy.FindStringSubmatch(e.Text)
	if m == nil {
		return err
	}
	var user marked
	if strings.HasPrefix(m[1], "managedZones/") && g.dns != nil {
		err = g.dns.Zone(ctx, api.Base(m[1]), &user)
	} else {
		err = g.client.Get(ctx, m[1], &user)
	}
	if err != nil {
		return e
	}
	text := m[1] + " is nothing that labctl made"
	if mark, ok := readMark(user.Description); ok {
		text = api.Base(m[1]) + " is " + addr(mark.Kind, mark.Name).String()
		if g.owner(lab) != (owner{mark.Lab, mark.Target}) {
			text += " of lab " + mark.Lab + " on its target " + mark.Target
		}
	}
	return &provider.Error{Code: provider.InUse, Text: e.Text + " (" + text + ")"}
}

// users says whose use keeps a thing from being deleted, as far as that can be seen.
func (g *gce) users(ctx context.Context, o provider.Observed, err error) error {
	if o.Addr.Kind != kindNetwork {
		return g.whose(ctx, o.Lab, err)
	}
	v := newView(g, o.Lab)
	for _, kind := range inNetworks() {
		if v.list(ctx, kind) != nil { // then the API's own words must do
			return err
		}
	}
	others := v.foreign(api.Base(g.path(o.Lab, o.Addr)))
	if others == "" {
		return g.whose(ctx, o.Lab, err)
	}
	return &provider.Error{Code: provider.InUse, Text: "in it are things that are not this lab's, and are not deleted with it: " + others}
}
