package gcetest_test

import (
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
)

// TestDNS: what Cloud DNS refuses, with the words and reasons that people quote of it.
func TestDNS(t *testing.T) {
	s := gcetest.New(gcetest.Options{})
	t.Cleanup(s.Close)
	do := func(verb, path string, body m) string {
		t.Helper()
		o, err := s.Do(verb, path, body)
		if err != nil {
			return err.Error()
		}
		if o == nil {
			return "204"
		}
		return "200"
	}
	zone := func(name, domain string, more m) m {
		z := m{"name": name, "dnsName": domain, "description": "x", "visibility": "private"}
		for k, v := range more {
			z[k] = v
		}
		return z
	}
	seen := func(url string) m {
		return m{"privateVisibilityConfig": m{"networks": []any{m{"networkUrl": url}}}}
	}
	set := func(name, kind string, data ...any) []any {
		return []any{m{"name": name, "type": kind, "ttl": 300.0, "rrdatas": data}}
	}
	const lan = "https://www.googleapis.com/compute/v1/projects/lab-project/global/networks/lan"
	for _, x := range []struct {
		name, verb, path string
		body             m
		want             string
	}{
		{"a network", "POST", "global/networks", m{"name": "lan", "autoCreateSubnetworks": false}, "200"},
		{"no description", "POST", "managedZones", m{"name": "a", "dnsName": "a.lab."}, "400 required"},
		{"no dot", "POST", "managedZones", zone("a", "a.lab", nil), "400 invalid: Invalid value for 'entity.managedZone.dnsName'"},
		{"unknown field", "POST", "managedZones", zone("a", "a.lab.", m{"networks": []any{}}), "400 badRequest: Invalid JSON payload received. Unknown name \"networks\""},
		{"a path alone", "POST", "managedZones", zone("a", "a.lab.", seen("projects/lab-project/global/networks/lan")), "400 invalid"},
		{"no such network", "POST", "managedZones", zone("a", "a.lab.", seen(lan+"x")), "404 notFound"},
		{"a public zone for some", "POST", "managedZones", zone("a", "a.lab.", m{"visibility": "public", "privateVisibilityConfig": seen(lan)["privateVisibilityConfig"]}), "400 invalid"},
		{"made", "POST", "managedZones", zone("a", "a.lab.", seen(lan)), "200"},
		{"made twice", "POST", "managedZones", zone("a", "b.lab.", nil), "409 alreadyExists"},
		{"two of one domain", "POST", "managedZones", zone("b", "a.lab.", seen(lan)), "400 invalid: The network '" + lan + "' is already bound"},
		{"its network is held", "DELETE", "global/networks/lan", nil, "is already being used by 'projects/lab-project/managedZones/a'"},
		{"another domain", "PATCH", "managedZones/a", m{"dnsName": "b.lab."}, "400 invalid"},
		{"another description", "PATCH", "managedZones/a", m{"description": "y"}, "200"},
		{"nothing to change", "POST", "managedZones/a/changes", m{}, "400 required"},
		{"not in the zone", "POST", "managedZones/a/changes", m{"additions": set("web.b.lab.", "A", "10.0.0.1")}, "400 invalid"},
		{"no address", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "A", "web")}, "400 invalid"},
		{"half a name", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "CNAME", "www")}, "400 invalid"},
		{"text without quotes", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "TXT", "say \"hi\" x")}, "400 invalid"},
		{"a record", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "A", "10.0.0.1")}, "200"},
		{"twice", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "A", "10.0.0.2")}, "409 alreadyExists: The resource 'entity.change.additions[0]' named 'web.a.lab. (A)' already exists"},
		{"a name for it", "POST", "managedZones/a/changes", m{"additions": set("web.a.lab.", "CNAME", "x.a.lab.")}, "400 cnameResourceRecordSetConflict"},
		{"not what is there", "POST", "managedZones/a/changes", m{"deletions": set("web.a.lab.", "A", "10.0.0.2")}, "412 conditionNotMet: Precondition not met for 'entity.change.deletions[0]'"},
		{"not there", "POST", "managedZones/a/changes", m{"deletions": set("no.a.lab.", "A", "10.0.0.2")}, "404 notFound: The 'entity.change.deletions[0]' resource named 'no.a.lab. (A)' does not exist."},
		{"all or nothing", "POST", "managedZones/a/changes", m{"additions": set("new.a.lab.", "A", "10.0.0.1"), "deletions": set("no.a.lab.", "A", "10.0.0.2")}, "404 notFound"},
		{"nothing of that", "GET", "managedZones/a/rrsets/new.a.lab./A", nil, "404 notFound"},
		{"no zone without SOA", "POST", "managedZones/a/changes", m{"deletions": []any{m{"name": "a.lab.", "type": "SOA", "ttl": 21600.0,
			"rrdatas": []any{"ns-gcp-private.googledomains.com. cloud-dns-hostmaster.google.com. 1 21600 3600 259200 300"}}}}, "400 invalidZoneApex"},
		{"not empty", "DELETE", "managedZones/a", nil, "400 containerNotEmpty: The resource named 'a' cannot be deleted because it contains one or more 'resource records'."},
		{"emptied", "POST", "managedZones/a/changes", m{"deletions": set("web.a.lab.", "A", "10.0.0.1")}, "200"},
		{"gone", "DELETE", "managedZones/a", nil, "204"},
		{"gone already", "DELETE", "managedZones/a", nil, "404 notFound: The 'parameters.managedZone' resource named 'a' does not exist."},
	} {
		if got := do(x.verb, x.path, x.body); !strings.Contains(got, x.want) {
			t.Errorf("%s: %s, want %s", x.name, got, x.want)
		}
	}
}
