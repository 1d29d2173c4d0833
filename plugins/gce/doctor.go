package gce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (g *gce) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("diagnose", provider.Addr{}, err)
	}
	var all []provider.Diagnosis
	var project struct {
		Name string `json:"name"`
	}
	if err := g.client.Get(ctx, "", &project); err != nil {
		fix := "see whether the Compute Engine API is enabled, and whether you may use it: roles/compute.admin and, for machines without external addresses, roles/iap.tunnelResourceAccessor"
		var login *api.LoginError
		if errors.As(err, &login) {
			fix = "gcloud auth application-default login, or credentials: \"FILE\" on the target"
		}
		return []provider.Diagnosis{{Name: "project", Status: provider.Broken, Detail: err.Error(), Fix: fix}}, nil
	}
	all = append(all, provider.Diagnosis{Name: "project", Status: provider.Good, Detail: g.opts.Project + " answers at " + g.opts.Endpoint})
	all = append(all, g.zone(ctx), g.lists(ctx))
	if g.opts.DNS == dnsCloud {
		all = append(all, g.names(ctx))
	}
	way := map[string]string{
		accessIAP:      "through Google's proxy (IAP), which reaches every machine",
		accessExternal: "over external addresses and published ports only",
		accessNone:     "none: what is inside machines is left alone",
	}[g.opts.Access]
	return append(all, provider.Diagnosis{Name: "way in", Status: provider.Good, Detail: way}), nil
}

func (g *gce) zone(ctx context.Context) provider.Diagnosis {
	d := provider.Diagnosis{Name: "zone", Status: provider.Good}
	var zone struct {
		Status string `json:"status"`
	}
	switch err := g.client.Get(ctx, "zones/"+g.opts.Zone, &zone); {
	case err != nil:
		d.Status, d.Detail, d.Fix = provider.Broken, err.Error(), "gcloud compute zones list says which there are"
	case zone.Status != "UP":
		d.Status, d.Detail = provider.Warning, fmt.Sprintf("%s is %s", g.opts.Zone, zone.Status)
	default:
		d.Detail = g.opts.Zone + " is up"
	}
	return d
}

// names says whether Cloud DNS answers.
func (g *gce) names(ctx context.Context) provider.Diagnosis {
	d := provider.Diagnosis{Name: "names", Status: provider.Good, Detail: "Cloud DNS answers at " + g.opts.DNSEndpoint}
	if _, err := g.canList(ctx, kindZone); err != nil {
		d.Status, d.Detail = provider.Broken, err.Error()
		d.Fix = "gcloud services enable dns.googleapis.com, and roles/dns.admin for who asks; or leave out dns: \"cloud\""
	}
	return d
}

// lists says whether all that labs are made of can be listed.
func (g *gce) lists(ctx context.Context) provider.Diagnosis {
	d := provider.Diagnosis{Name: "lists", Status: provider.Good, Detail: "the API lists all kinds"}
	var not []string
	for _, kind := range kinds() {
		err := g.client.List(ctx, g.collection(kind), "name=none", func(json.RawMessage) error { return nil })
		switch {
		case api.Is(err, api.Unsupported):
			not = append(not, kind)
		case err != nil:
			d.Status, d.Detail = provider.Broken, fmt.Sprintf("%s: %v", g.collection(kind), err)
			return d
		}
	}
	if len(not) > 0 {
		d.Status = provider.Warning
		d.Detail = "the API does not list " + strings.Join(not, ", ") + ": they are asked for by name, and what somebody else made of a lab that you do not have is not seen"
	}
	return d
}
