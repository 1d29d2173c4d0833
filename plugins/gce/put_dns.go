package gce

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// markOf is the name of the record set that says whose another is: Cloud DNS has no labels on records, and both are changed
// in one change. It is a TXT record below the other's name, since beside a CNAME there may be none.
func markOf(name, kind string) string {
	return "_labctl-" + strings.ToLower(kind) + "." + strings.Replace(name, "*", "_any", 1)
}

// marks says which record set a mark is about; false if it is none.
func marks(name string) (of, kind string, ok bool) {
	kind, of, ok = strings.Cut(strings.TrimPrefix(name, "_labctl-"), ".")
	if rest, any := strings.CutPrefix(of, "_any"); any {
		of = "*" + rest
	}
	return of, strings.ToUpper(kind), ok && strings.HasPrefix(name, "_labctl-")
}

// recordMark is the text of a mark.
func recordMark(o owner, machine string) []string {
	text := "labctl lab=" + o.lab + " target=" + o.target
	if machine != "" {
		text += " machine=" + machine
	}
	return []string{`"` + text + `"`}
}

// readRecordMark is whose a mark says that something is, and the machine that it is about.
func readRecordMark(data []string) (o owner, machine string) {
	if len(data) != 1 {
		return o, ""
	}
	words := strings.Fields(strings.Trim(data[0], `"`))
	if len(words) == 0 || words[0] != "labctl" {
		return o, ""
	}
	for _, w := range words[1:] {
		switch key, value, _ := strings.Cut(w, "="); key {
		case "lab":
			o.lab = value
		case "target":
			o.target = value
		case "machine":
			machine = value
		}
	}
	return o, machine
}

// zoneName is the name of a zone in the project.
func (g *gce) zoneName(lab, domain string) string { return g.owner(lab).name(kindZone, domain) }

// zoneOf is a zone as it should be.
func (g *gce) zoneOf(r provider.Resource, a zoneAttrs) api.Zone {
	z := api.Zone{
		Name: g.zoneName(r.Lab, r.Addr.Name), DNSName: r.Addr.Name + ".", Description: g.describe(r), Visibility: a.Visibility,
		Labels: map[string]string{labelLab: r.Lab, labelTarget: g.target}, Private: api.Private{Networks: []api.ZoneNetwork{}},
	}
	for _, n := range a.Networks {
		z.Private.Networks = append(z.Private.Networks, api.ZoneNetwork{URL: "https://www.googleapis.com/compute/v1/" + g.networkLink(r.Lab, n)})
	}
	return z
}

// putZone makes a zone, or lets other networks see it.
func (g *gce) putZone(ctx context.Context, r provider.Resource) error {
	var a zoneAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	want := g.zoneOf(r, a)
	err := g.dns.CreateZone(ctx, want)
	if !api.Is(err, api.Exists) {
		return err
	}
	mine, err := g.mineZone(ctx, r.Lab, r.Addr)
	if err == nil && !mine {
		err = &provider.Error{Code: provider.Foreign, Text: "the zone " + want.Name + " is there already, and is not this lab's"}
	}
	if err != nil {
		return err
	}
	return g.dns.PatchZone(ctx, want.Name, map[string]any{"privateVisibilityConfig": want.Private, "labels": want.Labels})
}

// mineZone says whether a zone is there and ours.
func (g *gce) mineZone(ctx context.Context, lab string, a provider.Addr) (bool, error) {
	var z marked
	err := g.dns.Zone(ctx, g.zoneName(lab, a.Name), &z)
	if api.Is(err, api.NotFound) {
		return false, nil
	}
	return err == nil && z.owned(g.owner(lab), kindZone), err
}

// deleteZone deletes a zone; records of others in it keep it.
func (g *gce) deleteZone(ctx context.Context, o provider.Observed) error {
	mine, err := g.mineZone(ctx, o.Lab, o.Addr)
	if err != nil || !mine {
		return err
	}
	err = g.dns.DeleteZone(ctx, g.zoneName(o.Lab, o.Addr.Name))
	if !api.Is(err, api.InUse) {
		return err
	}
	v := newView(g, o.Lab)
	seen, err2 := v.zone(ctx, api.Zone{Name: g.zoneName(o.Lab, o.Addr.Name), DNSName: o.Addr.Name + "."})
	if err2 != nil || seen.foreign() == "" { // then the API's own words must do
		return err
	}
	return &provider.Error{Code: provider.InUse, Text: "in it are records that are not this lab's, and are not deleted with it: " + seen.foreign()}
}

// recordAt are a record's name, with the last dot, and its type.
func recordAt(a provider.Addr) (name, kind string) {
	i := strings.LastIndexByte(a.Name, '/')
	return a.Name[:i] + ".", a.Name[i+1:]
}

// putRecord makes a record set what it should be, and its mark with it.
func (g *gce) putRecord(ctx context.Context, r provider.Resource) error {
	var a recordAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	name, kind := recordAt(r.Addr)
	want := []api.RecordSet{
		{Name: name, Type: kind, TTL: a.TTL, Data: a.Data},
		{Name: markOf(name, kind), Type: "TXT", TTL: dnsTTL, Data: recordMark(g.owner(r.Lab), r.Machine)},
	}
	return g.turn(ctx, r.Lab, r.Addr, a.Zone, want)
}

// deleteRecord deletes a record set of ours with its mark.
func (g *gce) deleteRecord(ctx context.Context, o provider.Observed) error {
	var a recordAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	err := g.turn(ctx, o.Lab, o.Addr, a.Zone, nil)
	if provider.CodeOf(err) == provider.Foreign || api.Is(err, api.NotFound) { // somebody else's, or gone with its zone
		return nil
	}
	return err
}

// tries are how often a change of what somebody else changes meanwhile is tried.
const tries = 4

// turn makes of a record set and its mark what they should be: want is both, or nothing. What is there without our mark is
// somebody else's. The change says what it replaces, and is refused if that is not so any more: then it is looked again.
func (g *gce) turn(ctx context.Context, lab string, a provider.Addr, zone string, want []api.RecordSet) error {
	at := g.zoneName(lab, zone)
	name, kind := recordAt(a)
	for n := 1; ; n++ {
		var c api.RecordChange
		record, there, err := g.dns.Record(ctx, at, name, kind)
		if err != nil {
			return err
		}
		mark, marked, err := g.dns.Record(ctx, at, markOf(name, kind), "TXT")
		if err != nil {
			return err
		}
		whose, _ := readRecordMark(mark.Data)
		if (there || marked) && whose != g.owner(lab) {
			return &provider.Error{Code: provider.Foreign, Text: fmt.Sprintf("the zone %s has a %s record %s already, which is not this lab's", zone, kind, strings.TrimSuffix(name, "."))}
		}
		for i, now := range []struct {
			set api.RecordSet
			has bool
		}{{record, there}, {mark, marked}} {
			if now.has && len(want) > 0 && same(now.set, want[i]) {
				continue
			}
			if now.has {
				c.Deletions = append(c.Deletions, now.set)
			}
			if len(want) > 0 {
				c.Additions = append(c.Additions, want[i])
			}
		}
		if len(c.Additions)+len(c.Deletions) == 0 {
			return nil
		}
		err = g.dns.ChangeRecords(ctx, at, c)
		if n == tries || !api.Is(err, api.Stale) && !api.Is(err, api.Exists) && !api.Is(err, api.NotFound) {
			return err
		}
	}
}

func same(a, b api.RecordSet) bool {
	return a.TTL == b.TTL && slices.Equal(sorted(a.Data), sorted(b.Data))
}
