package gce

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// zoneSeen is a zone of ours with all that is in it.
type zoneSeen struct {
	zone    api.Zone
	own     owner
	records []api.RecordSet
	names   bool // only what has one of our names was asked for
}

// fetchZones gets our zones and what is in them. A target that keeps its names elsewhere has zones only if it once was
// another: who may not ask Cloud DNS has none.
func (v *view) fetchZones(ctx context.Context) error {
	if v.g.dns == nil {
		return nil
	}
	var ours []api.Zone
	take := func(raw json.RawMessage) error {
		var m marked
		var z api.Zone
		if err := json.Unmarshal(raw, &m); err != nil {
			return err
		}
		if !m.owned(v.own, kindZone) {
			return nil
		}
		err := json.Unmarshal(raw, &z)
		ours = append(ours, z)
		return err
	}
	err := v.g.dns.Zones(ctx, "", take)
	lists := !api.Is(err, api.Unsupported)
	if err == nil || !lists {
		v.g.listable(v.g.collection(kindZone), lists)
	}
	if !lists {
		err = v.zonesByName(ctx, take)
	}
	if err != nil {
		if v.g.opts.DNS != dnsCloud && (api.Is(err, api.Forbidden) || api.Is(err, api.NotFound)) {
			return nil
		}
		return err
	}
	for _, z := range ours {
		look := v.zone
		if !lists {
			look = v.zoneByNames
		}
		seen, err := look(ctx, z)
		if err != nil {
			return err
		}
		v.zones = append(v.zones, seen)
	}
	return nil
}

// zonesByName asks for zones that the lab is made of, or was.
func (v *view) zonesByName(ctx context.Context, take func(json.RawMessage) error) error {
	names, err := v.names(kindZone)
	if err != nil {
		return err
	}
	for _, a := range names {
		var raw json.RawMessage
		err := v.g.dns.Zone(ctx, v.g.zoneName(v.own.lab, a.Name), &raw)
		if err == nil {
			err = take(raw)
		}
		if err != nil && !api.Is(err, api.NotFound) {
			return err
		}
	}
	return nil
}

// zone is a zone with everything in it.
func (v *view) zone(ctx context.Context, z api.Zone) (zoneSeen, error) {
	seen := zoneSeen{zone: z, own: v.own}
	err := v.g.dns.Records(ctx, z.Name, func(r api.RecordSet) error {
		if r.Name != z.DNSName || r.Type != "SOA" && r.Type != "NS" { // which every zone is made with
			seen.records = append(seen.records, r)
		}
		return nil
	})
	return seen, err
}

// zoneByNames is a zone with what has our names in it.
func (v *view) zoneByNames(ctx context.Context, z api.Zone) (zoneSeen, error) {
	seen := zoneSeen{zone: z, own: v.own}
	names, err := v.names(kindRecord)
	if err != nil {
		return seen, err
	}
	for _, a := range names {
		name, kind := recordAt(a)
		if !strings.HasSuffix(name, "."+z.DNSName) && name != z.DNSName {
			continue
		}
		for _, at := range [][2]string{{name, kind}, {markOf(name, kind), "TXT"}} {
			r, ok, err := v.g.dns.Record(ctx, z.Name, at[0], at[1])
			if err != nil {
				return seen, err
			}
			if ok {
				seen.records = append(seen.records, r)
			}
		}
	}
	return seen, nil
}

func (s zoneSeen) find(name, kind string) (api.RecordSet, bool) {
	i := slices.IndexFunc(s.records, func(r api.RecordSet) bool { return r.Name == name && r.Type == kind })
	if i < 0 {
		return api.RecordSet{}, false
	}
	return s.records[i], true
}

// ours says whether a record set is the lab's, or says so of another.
func (s zoneSeen) ours(r api.RecordSet) bool {
	if whose, _ := readRecordMark(r.Data); whose == s.own && r.Type == "TXT" {
		if _, _, is := marks(r.Name); is {
			return true
		}
	}
	m, ok := s.find(markOf(r.Name, r.Type), "TXT")
	whose, _ := readRecordMark(m.Data)
	return ok && whose == s.own
}

// foreign names the records that others have put into a zone of ours.
func (s zoneSeen) foreign() string {
	var out []string
	for _, r := range s.records {
		if !s.ours(r) {
			out = append(out, r.Type+" "+strings.TrimSuffix(r.Name, "."))
		}
	}
	return strings.Join(sorted(out), ", ")
}

// names reports the zones and their records.
func (v *view) dnsZones() error {
	for _, s := range v.zones {
		m, _ := readMark(s.zone.Description)
		a := zoneAttrs{Networks: []string{}, Visibility: s.zone.Visibility}
		var needs []provider.Addr
		for _, n := range s.zone.Private.Networks {
			name := v.networkOf(n.URL)
			a.Networks = append(a.Networks, name)
			needs = append(needs, addr(kindNetwork, name))
		}
		slices.Sort(a.Networks)
		out := map[string]string{"name": s.zone.Name}
		if others := s.foreign(); others != "" {
			out["foreign"] = others
		}
		if err := v.add(kindZone, m.Name, "", a, needs, out); err != nil {
			return err
		}
		if err := v.dnsRecords(s, m.Name); err != nil {
			return err
		}
	}
	return nil
}

// dnsRecords reports what has our mark, and a mark whose record somebody has deleted as a record that says nothing.
func (v *view) dnsRecords(s zoneSeen, domain string) error {
	for _, m := range s.records {
		of, kind, is := marks(m.Name)
		whose, machine := readRecordMark(m.Data)
		if !is || m.Type != "TXT" || whose != s.own {
			continue
		}
		r, _ := s.find(of, kind)
		a := recordAttrs{Zone: domain, Data: append([]string{}, sorted(r.Data)...), TTL: r.TTL}
		name := strings.TrimSuffix(of, ".") + "/" + kind
		if err := v.add(kindRecord, name, machine, a, []provider.Addr{addr(kindZone, domain)}, nil); err != nil {
			return err
		}
	}
	return nil
}
