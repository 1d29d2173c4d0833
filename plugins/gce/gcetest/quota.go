package gcetest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// What a young project may have, in each region and in all.
var (
	regional = map[string]float64{"CPUS": 72, "N2_CPUS": 24, "T2A_CPUS": 8, "INSTANCES": 720, "IN_USE_ADDRESSES": 69, "STATIC_ADDRESSES": 21,
		"DISKS_TOTAL_GB": 40960, "SSD_TOTAL_GB": 20480, "NVIDIA_T4_GPUS": 1, "NVIDIA_L4_GPUS": 1, "NVIDIA_V100_GPUS": 1, "NVIDIA_P4_GPUS": 1}
	everywhere = map[string]float64{"NETWORKS": 15, "SUBNETWORKS": 100, "FIREWALLS": 200, "ROUTES": 250, "ROUTERS": 20, "CPUS_ALL_REGIONS": 128, "GPUS_ALL_REGIONS": 8}
)

// quotas are the limits and the use of a region, or of the project if region is "".
func (w *world) quotas(region string) []any {
	limits := everywhere
	if region != "" {
		limits = regional
	}
	var out []any
	for _, metric := range slices.Sorted(maps.Keys(limits)) {
		out = append(out, object{"metric": metric, "limit": w.limit(metric, limits[metric]), "usage": w.usage(metric, region)})
	}
	return out
}

func (w *world) limit(metric string, by float64) float64 {
	if l, ok := w.options.Quotas[metric]; ok {
		return l
	}
	return by
}

// usage is how much of a metric there is.
func (w *world) usage(metric, region string) float64 {
	var n float64
	for _, t := range w.things {
		if projectOf(t.name) == w.options.Project && w.inRegion(t.name, region) {
			n += w.share(t, metric)
		}
	}
	return n
}

// inRegion says whether a thing is in a region; everything is in "".
func (w *world) inRegion(name, region string) bool {
	scope := scopeOf(name)
	return region == "" || scope == "regions/"+region || strings.HasPrefix(scope, "zones/"+region+"-")
}

// share is what one thing takes of a metric.
func (w *world) share(t *thing, metric string) float64 {
	plain := map[string]string{"instances": "INSTANCES", "networks": "NETWORKS", "subnetworks": "SUBNETWORKS", "firewalls": "FIREWALLS", "routes": "ROUTES", "routers": "ROUTERS", "addresses": "STATIC_ADDRESSES"}
	if t.kind == nil {
		return 0
	}
	if plain[t.kind.collection] == metric && t.o["nextHopNetwork"] == nil { // a subnet's own route is free
		return 1
	}
	switch c := t.kind.collection; {
	case c == "disks" && metric == map[bool]string{true: "DISKS_TOTAL_GB", false: "SSD_TOTAL_GB"}[base(text(t.o, "type")) == "pd-standard"]:
		return float64(number(t.o, "sizeGb"))
	case c == "instances" && (t.o["status"] == "RUNNING" || t.state == creating):
		return w.instanceShare(t, metric)
	}
	return 0
}

func (w *world) instanceShare(t *thing, metric string) float64 {
	kind := base(text(t.o, "machineType"))
	family, _, _ := strings.Cut(kind, "-")
	own := "CPUS"
	if family == "n2" || family == "t2a" {
		own = strings.ToUpper(family) + "_CPUS"
	}
	if m := w.things[refer("", text(t.o, "machineType"))]; m != nil && (metric == own || metric == "CPUS_ALL_REGIONS") {
		return float64(number(m.o, "guestCpus"))
	}
	var n float64
	for _, x := range list(t.o, "guestAccelerators") {
		g, _ := x.(object)
		name := base(text(g, "acceleratorType"))
		name = "NVIDIA_" + strings.ToUpper(strings.TrimPrefix(strings.TrimPrefix(name, "nvidia-"), "tesla-")) + "_GPUS"
		if metric == name || metric == "GPUS_ALL_REGIONS" {
			n += float64(number(g, "acceleratorCount"))
		}
	}
	return n
}

// exceeded refuses a new thing that is one too many for a quota that the test has set.
func (w *world) exceeded(t *thing) *apiError {
	for _, metric := range slices.Sorted(maps.Keys(w.options.Quotas)) {
		region := ""
		if _, ok := regional[metric]; ok {
			_, at, _ := strings.Cut(scopeOf(t.name), "/")
			if strings.HasPrefix(scopeOf(t.name), "zones/") {
				at = at[:strings.LastIndexByte(at, '-')]
			}
			region = at
		}
		if limit := w.options.Quotas[metric]; w.share(t, metric) > 0 && w.usage(metric, region) > limit {
			return &apiError{HTTP: http.StatusForbidden, Reason: string(QuotaReached), Code: "QUOTA_EXCEEDED", Text: "Quota '" + metric + "' exceeded."}
		}
	}
	return nil
}
