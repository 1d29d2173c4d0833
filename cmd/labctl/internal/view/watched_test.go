package view

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/provider"
)

func TestStatusChanges(t *testing.T) {
	before := LabStatus{
		Machines: []MachineStatus{{Name: "db", Power: "on", Health: "booting"}, {Name: "old", Power: "on"}, {Name: "web", Power: "on", Addresses: []string{"10.0.0.1"}}},
		Networks: []NetworkStatus{{Name: "lan", State: "up"}},
	}
	after := LabStatus{
		Machines: []MachineStatus{{Name: "db", Power: "on", Health: "healthy"}, {Name: "new", Power: "off", Changes: 1, Pending: provider.Reboot}, {Name: "web", Power: "on"}},
		Networks: []NetworkStatus{{Name: "lan", State: "down"}},
	}
	want := []string{
		"machine db: health booting -> healthy", "machine new: power off, pending reboot (1 change)", "machine web: addresses 10.0.0.1 -> none",
		"machine old: gone", "network lan: state up -> down",
	}
	if diff := cmp.Diff(want, StatusChanges(before, after)); diff != "" {
		t.Error(diff)
	}
	if got := StatusChanges(after, after); len(got) != 0 {
		t.Errorf("nothing changed, and yet %q", got)
	}
}

func TestFrame(t *testing.T) {
	for _, c := range []struct {
		height int
		want   string
	}{
		{4, "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\x1b[J"},
		{3, "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\x1b[J"},
		{2, "\x1b[Ha\x1b[K\n... 2 more lines: the terminal is too low\x1b[K\x1b[J"},
	} {
		if diff := cmp.Diff(c.want, Frame("a\nb\nc\n", c.height)); diff != "" {
			t.Errorf("%d lines: %s", c.height, diff)
		}
	}
}
