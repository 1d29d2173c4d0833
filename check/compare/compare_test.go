package compare

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
)

func TestThings(t *testing.T) {
	before := lab.Lab{
		Name: "x", Domain: "x.lab",
		Networks: []lab.Network{{Name: "lan", MTU: 1500}},
		Machines: []lab.Machine{
			{Name: "web", Memory: 512 << 20, NICs: []lab.NIC{{Network: "lan", MAC: "02:00:00:00:00:01"}},
				Guest: lab.Guest{Files: []lab.File{{Path: "/etc/motd", Text: "one\ntwo\n"}}}},
			{Name: "old"},
		},
		Policy: []lab.Rule{{Name: "a", From: []string{"web"}, To: []string{"world"}, Path: "policy.0"}},
		Pools:  []lab.Pool{{Name: "fast", Path: "/ssd"}},
	}
	after := lab.Lab{
		Name: "x", Domain: "x.lab",
		Networks: []lab.Network{{Name: "lan", MTU: 9000}},
		Machines: []lab.Machine{
			{Name: "web", Router: true, Memory: 1 << 30, NICs: []lab.NIC{{Network: "lan", MAC: "02:00:00:00:00:02"}, {Network: "wan", Link: lab.Down}},
				Guest:   lab.Guest{Files: []lab.File{{Path: "/etc/motd", Text: "one\n2\n"}}},
				Routing: &lab.Routing{Publish: []lab.Publish{{Proto: lab.TCP, Port: 80, Machine: "web", To: 80, Path: "routers.web"}}}},
		},
		Policy: []lab.Rule{{Name: "a", From: []string{"web"}, To: []string{"world"}, Path: "policy.1"}, {Name: "b", From: []string{"world"}, To: []string{"web"}}},
		Pools:  []lab.Pool{{Name: "fast", Path: "/nvme"}},
	}
	want := []Thing{
		{Kind: "network", Name: "lan", Action: Changed, Facts: []Fact{{"mtu", "1500", "9000"}}},
		{Kind: "server", Name: "old", Action: Removed},
		{Kind: "router", Name: "web", Action: Changed, Facts: []Fact{
			{"guest.files./etc/motd.text", "2 lines, sha256:c3f9c8c283a2", "2 lines, sha256:b8c083898d90"},
			{"memory", "512MiB", "1GiB"},
			{"nics.wan.link", "", "down"},
			{"router", "", "true"},
			{"routing.publish.tcp/80.machine", "", "web"},
			{"routing.publish.tcp/80.to", "", "80"},
		}},
		{Kind: "rule", Name: "b", Action: Added, Facts: []Fact{{"from", "", "world"}, {"to", "", "web"}}},
		{Kind: "pool", Name: "fast", Action: Changed, Facts: []Fact{{"path", "/ssd", "/nvme"}}},
	}
	if diff := cmp.Diff(want, things(before, after)); diff != "" {
		t.Error(diff)
	}
	if got := things(before, before); len(got) != 0 {
		t.Errorf("a lab differs from itself: %v", got)
	}
	if got := things(lab.Lab{}, before); len(got) != 6 || got[0].Kind != "lab" || got[0].Action != Added {
		t.Errorf("a new lab: %v", got)
	}
}
