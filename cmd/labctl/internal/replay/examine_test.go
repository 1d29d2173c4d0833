package replay

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/lab"
)

// TestCounted: of what a machine counted while it was asked, only what the question can have caused is told.
func TestCounted(t *testing.T) {
	l := deploy3(t)
	r := &run{Options: Options{Lab: l}}
	admin := nft.Origin{Kind: nft.Implied, Name: nft.AdminName, Path: nft.AdminPath}.Comment()
	rule := func(chain, comment string) probe.Counter {
		return probe.Counter{Chain: chain, Handle: 7, Comment: comment, Counts: true, Packets: 1}
	}
	q := func(from, to, src, proto string, port uint16) live.Question {
		return live.Question{From: from, To: to, Packet: reach.Packet{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr("10.20.0.1"), Proto: proto, Dport: port}}
	}
	door := lab.Door(netip.MustParsePrefix("10.10.0.0/24"))
	ssh := q("jumpbox", "inner", door.String(), "tcp", 22)
	for _, c := range []struct {
		name  string
		rule  probe.Counter
		q     live.Question
		about bool
	}{
		{"what denies it", rule("input", "default: denied to the machine itself"), q("jumpbox", "inner", "10.10.0.85", "tcp", 80), true},
		{"labctl's way in", rule("input", admin), q("jumpbox", "inner", "10.10.0.85", "tcp", 80), false},
		{"labctl's way in, asked from where it is not open", rule("input", admin), q("jumpbox", "inner", "10.10.0.85", "tcp", 22), false},
		{"labctl's way in, asked from where it is", rule("input", admin), ssh, true},
		{"labctl's way in, on another machine", rule("input", admin), q("jumpbox", "web", door.String(), "tcp", 22), false},
		{"open connections", rule("forward", "state: open connections"), ssh, false},
		{"no connection", rule("forward", "state: no connection"), ssh, true},
		{"the wire", rule("input", "link: neighbour discovery"), ssh, false},
		{"a lease", rule("input", "implied: an address from the uplink"), ssh, false},
		{"a rule of the policy", rule("forward", "policy: admin"), ssh, true},
		{"somebody's rule", rule("forward", ""), ssh, true},
	} {
		before := c.rule
		before.Packets = 0
		got := r.counted("inner", c.q, []probe.Counter{before}, []probe.Counter{c.rule}, nil)
		if about := len(got.Rules) == 1; about != c.about {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	got := r.counted("inner", ssh, nil, []probe.Counter{rule("forward", "mine"), rule("input", admin), rule("forward", "")}, nil)
	want := live.Counted{Machine: "inner",
		Rules:   []live.Count{{Rule: "forward: mine (handle 7, not made by labctl)", Packets: 1}, {Rule: "input: " + admin, Packets: 1}, {Rule: "forward: (handle 7, not made by labctl)", Packets: 1}},
		Remarks: []string{"chain forward has 2 rules that labctl did not make"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := r.counted("inner", ssh, nil, nil, errors.New("no table")); !cmp.Equal(got.Remarks, []string{"no table"}) {
		t.Errorf("%+v", got)
	}
}
