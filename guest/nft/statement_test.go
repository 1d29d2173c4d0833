package nft_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"testing"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// TestStatements holds what the policy of the sample says as a whole, and that every rule of every ruleset is said.
func TestStatements(t *testing.T) {
	l := sample(t)
	l.Machines = slices.Clone(l.Machines)
	l.Networks[1].Assign = lab.DHCP
	ns := slices.IndexFunc(l.Machines, func(m lab.Machine) bool { return m.Name == "ns" })
	l.Machines[ns].Firewall = true
	sets, err := nft.All(l)
	if err != nil {
		t.Fatal(err)
	}
	all := nft.Statements(l, sets)
	got, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/statements.json"
	goldentest.File(t, file, string(append(got, '\n')))
	for name, set := range sets {
		for _, c := range set.Chains {
			for _, r := range c.Rules {
				if !slices.ContainsFunc(all, func(s nft.Statement) bool {
					return s.Kind == r.Origin.Kind && (s.Name == r.Origin.Name || s.Kind == nft.AntiSpoof) && slices.Contains(s.Machines, name)
				}) {
					t.Errorf("%s: nothing is said about %s", name, r)
				}
			}
		}
	}
	for _, s := range all {
		if s.Why == "" && len(s.Paths) == 0 {
			t.Errorf("%s %q is neither in the spec nor explained", s.Kind, s.Name)
		}
	}
}

// TestStatementOfAdmin checks that the way in is the spec's where the spec says it.
func TestStatementOfAdmin(t *testing.T) {
	l := sample(t)
	l.Implied = &lab.Implied{Admin: []netip.Prefix{prefix("10.0.0.0/8")}}
	sets, err := nft.All(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range nft.Statements(l, sets) {
		if s.Name == "labctl's own way in" && (!slices.Equal(s.Paths, []string{nft.AdminPath}) || !slices.Equal(s.From, []string{"10.0.0.0/8"})) {
			t.Errorf("the way in is %+v", s)
		}
	}
}
