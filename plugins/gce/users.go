package gce

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// foreign names what others have put into a network of ours: rules that let more through than the policy says, routes
// that lead elsewhere. It is reported and never deleted.
func (v *view) foreign(network string) string {
	var out []string
	for _, kind := range []string{kindFirewall, kindRoute} {
		for _, raw := range v.things[kind] {
			var x struct {
				marked
				Network string `json:"network"`
				Gateway string `json:"nextHopGateway"`
				Local   string `json:"nextHopNetwork"`
			}
			if json.Unmarshal(raw, &x) != nil || api.Base(x.Network) != network || x.owned(v.own, kind) {
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

// users says whose use keeps a thing from being deleted, as far as that can be seen.
func (g *gce) users(ctx context.Context, o provider.Observed, err error) error {
	if o.Addr.Kind != kindNetwork {
		return err
	}
	v := view{g: g, own: g.owner(o.Lab), things: map[string][]json.RawMessage{}}
	for _, kind := range []string{kindFirewall, kindRoute} {
		if v.list(ctx, kind) != nil { // then the API's own words must do
			return err
		}
	}
	others := v.foreign(api.Base(g.path(o.Lab, o.Addr)))
	if others == "" {
		return err
	}
	return &provider.Error{Code: provider.InUse, Text: "in it are things that are not this lab's, and are not deleted with it: " + others}
}
