package gce

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Quotas implements provider.Quoter: those of the region and of the project, asked at the same time. A quota that the API
// does not tell of is not judged: which there are depends on the project.
func (g *gce) Quotas(ctx context.Context, q provider.QuotaQuery) (provider.Quotas, error) {
	const op = "ask for quotas"
	if err := ctx.Err(); err != nil {
		return provider.Quotas{}, provider.Wrap(op, provider.Addr{}, err)
	}
	out := provider.Quotas{Judge: g.opts.Capacity}
	if out.Judge == provider.Unasked {
		return out, nil
	}
	before, err := takes(q.Before)
	if err == nil {
		var after shares
		if after, err = takes(q.After); err == nil {
			out.All, err = g.short(ctx, before, after)
		}
	}
	return out, provider.Wrap(op, provider.Addr{}, failed(err))
}

// short are the quotas of which after takes more than before.
func (g *gce) short(ctx context.Context, before, after shares) ([]provider.Quota, error) {
	more := slices.DeleteFunc(slices.Sorted(maps.Keys(after)), func(m string) bool { return after.sum(m) <= before.sum(m) })
	if len(more) == 0 {
		return nil, nil
	}
	var out []provider.Quota
	for _, at := range []struct{ path, place string }{{"", "project " + g.opts.Project}, {"regions/" + g.opts.region(), "region " + g.opts.region()}} {
		var answer struct {
			Quotas []struct {
				Metric string  `json:"metric"`
				Limit  float64 `json:"limit"`
				Usage  float64 `json:"usage"`
			} `json:"quotas"`
		}
		if err := g.client.Get(ctx, at.path, &answer); err != nil {
			if api.Is(err, api.Unsupported) {
				continue
			}
			return nil, err
		}
		for _, q := range answer.Quotas {
			if slices.Contains(more, q.Metric) {
				out = append(out, provider.Quota{
					Name: q.Metric, Place: at.place, Limit: q.Limit, Used: q.Usage,
					Needs: after.sum(q.Metric) - before.sum(q.Metric), By: after.by(q.Metric, before),
				})
			}
		}
	}
	if slices.Contains(more, zoneQuota) {
		zones, err := g.zonesLeft(ctx)
		if err != nil {
			return nil, err
		}
		for _, q := range zones {
			q.Needs, q.By = after.sum(zoneQuota)-before.sum(zoneQuota), after.by(zoneQuota, before)
			out = append(out, q)
		}
	}
	slices.SortFunc(out, provider.Quota.Compare)
	return out, nil
}

// zoneQuota is what Cloud DNS calls how many zones a project may have.
const zoneQuota = "managedZones"

// zonesLeft is that limit, and how many there are; none where Cloud DNS does not tell.
func (g *gce) zonesLeft(ctx context.Context) ([]provider.Quota, error) {
	limits, err := g.dns.Quota(ctx)
	n := 0
	if err == nil {
		err = g.dns.Zones(ctx, "", func(json.RawMessage) error { n++; return nil })
	}
	limit, told := limits[zoneQuota]
	if api.Is(err, api.Unsupported) || err == nil && !told {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []provider.Quota{{Name: zoneQuota, Place: "Cloud DNS of project " + g.opts.Project, Limit: limit, Used: float64(n)}}, nil
}

// shares are what things take of each quota, by its metric and the thing.
type shares map[string]map[string]float64

func (s shares) add(metric, who string, n float64) {
	if n == 0 {
		return
	}
	if s[metric] == nil {
		s[metric] = map[string]float64{}
	}
	s[metric][who] += n
}

func (s shares) sum(metric string) float64 {
	var n float64
	for _, x := range s[metric] {
		n += x
	}
	return n
}

// by are those who take more than before, the largest share first.
func (s shares) by(metric string, before shares) []string {
	type part struct {
		who  string
		more float64
	}
	var parts []part
	for who, n := range s[metric] {
		if more := n - before[metric][who]; more > 0 {
			parts = append(parts, part{who, more})
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(b.more, a.more), strings.Compare(a.who, b.who)) })
	var out []string
	for _, p := range parts {
		text := p.who
		if p.more != 1 {
			text = fmt.Sprintf("%s %g", p.who, p.more)
		}
		out = append(out, text)
	}
	return out
}

// The quotas of disks by their type, in GB: https://cloud.google.com/compute/resource-usage#disk_quota.
func diskQuota(kind string) string {
	switch kind {
	case "pd-standard":
		return "DISKS_TOTAL_GB"
	case "hyperdisk-balanced":
		return "HDB_TOTAL_GB"
	}
	return "SSD_TOTAL_GB"
}

// cpuQuota is that of a machine type's processors: some families have one of their own, the others share CPUS.
func cpuQuota(family string) string {
	if slices.Contains([]string{"n2", "t2a", "a2", "a3"}, family) {
		return strings.ToUpper(family) + "_CPUS"
	}
	return "CPUS"
}

// gpuQuota is that of a kind of GPUs: NVIDIA_T4_GPUS.
func gpuQuota(kind string) string {
	kind = strings.TrimPrefix(strings.TrimPrefix(kind, "nvidia-"), "tesla-")
	return "NVIDIA_" + strings.ToUpper(strings.ReplaceAll(kind, "-", "_")) + "_GPUS"
}

// takes is what things take of the region's and the project's quotas. Processors and external addresses are taken by what
// runs, all else by what there is.
func takes(things []provider.Resource) (shares, error) {
	s := shares{}
	for _, r := range things {
		switch r.Addr.Kind {
		case kindNetwork:
			s.add("NETWORKS", r.Addr.Name, 1)
			s.add("ROUTES", r.Addr.Name+" to the internet", 1) // which every VPC is made with
		case kindSubnet:
			s.add("SUBNETWORKS", r.Addr.Name, 1)
		case kindFirewall:
			s.add("FIREWALLS", r.Addr.Name, 1)
		case kindRoute:
			s.add("ROUTES", r.Addr.Name, 1)
		case kindNAT:
			s.add("ROUTERS", r.Addr.Name, 1)
			s.add("IN_USE_ADDRESSES", "NAT of "+r.Addr.Name, 1)
		case kindZone:
			s.add(zoneQuota, r.Addr.Name, 1)
		case kindAddress:
			s.add("STATIC_ADDRESSES", r.Addr.Name, 1)
		case kindDisk:
			var a diskAttrs
			if err := decode(r.Addr, r.Attrs, &a); err != nil {
				return nil, err
			}
			s.add(diskQuota(a.Type), r.Addr.Name, float64(a.Size)/float64(lab.GiB))
		case kindMachine:
			if err := s.machine(r); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

func (s shares) machine(r provider.Resource) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	s.add("INSTANCES", r.Addr.Name, 1)
	if a.Power != string(lab.On) {
		return nil
	}
	if a.External != "" {
		s.add("IN_USE_ADDRESSES", r.Addr.Name, 1)
	}
	types := machineTypes()
	i := slices.IndexFunc(types, func(t machineType) bool { return t.name == a.Type })
	if i >= 0 {
		family, _, _ := strings.Cut(a.Type, "-")
		s.add(cpuQuota(family), r.Addr.Name, float64(types[i].cpus))
		s.add("CPUS_ALL_REGIONS", r.Addr.Name, float64(types[i].cpus))
	}
	kind, count := "", 0
	if a.GPUs != "" {
		if _, err := fmt.Sscanf(a.GPUs, "%s x %d", &kind, &count); err != nil {
			return &provider.Error{Code: provider.Internal, Text: "gpus " + a.GPUs + ": " + err.Error()}
		}
		s.add(gpuQuota(kind), r.Addr.Name, float64(count))
		s.add("GPUS_ALL_REGIONS", r.Addr.Name, float64(count))
	}
	return nil
}
