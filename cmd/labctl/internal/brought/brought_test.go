package brought

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// TestSeed brings the seed of one machine into another, whose guest document must know it by the identity that it comes
// with: else the machine waits for what it has.
func TestSeed(t *testing.T) {
	file := lab.File{Path: "/srv/seeds/target", Mode: "0600", Owner: "root", Group: "root", From: &lab.Origin{Seed: "target"}}
	l := lab.Arrange(lab.Lab{Name: "office", Domain: "office.lab", Machines: []lab.Machine{
		{Name: "target", Guest: lab.Guest{User: "lab", Packages: []string{"nginx"}}},
		{Name: "server", Guest: lab.Guest{User: "lab", Files: []lab.File{file}}},
	}})
	seeds, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := Source{Lab: l, Seed: func(_ context.Context, machine string) (lab.Seed, error) { return seeds[machine], nil }}
	server, _ := l.Machine("server")
	parcel, err := s.Pack(t.Context(), server, server.Guest.Files[0], func(string, int64, int64) {})
	if err != nil {
		t.Fatal(err)
	}
	var document guest.Document
	if err := json.Unmarshal(seeds["server"].Guest, &document); err != nil {
		t.Fatal(err)
	}
	if want := document.Files[0].From.ID; want == "" || parcel.ID != want {
		t.Errorf("it comes as %q, and %q is waited for", parcel.ID, want)
	}
}
