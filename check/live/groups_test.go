package live_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
)

func TestGroups(t *testing.T) {
	v := func(from, to, dst string, port uint16, kind live.Kind, rule string, path ...string) live.Verdict {
		q := live.Question{From: from, To: to, Network: "lan", Path: path, Decision: reach.Decision{Machine: "edge", Why: rule},
			Packet: reach.Packet{Dst: netip.MustParseAddr(dst), Proto: "tcp", Dport: port}}
		if port == 0 {
			q.Packet.Proto = "icmp"
		}
		if strings.HasPrefix(dst, "10.1.") {
			q.Network = "dmz"
		}
		return live.Verdict{Question: q, Kind: kind}
	}
	published := v("a", "b", "10.0.0.2", 80, live.Open, "default", "a", "edge")
	published.By, published.Port = "c", 8080
	unasked := func(why string) live.Verdict {
		x := v("a", "b", "10.0.0.2", 80, live.Unanswered, "default", "a", "edge")
		x.Answer.Detail = why
		return x
	}
	got := ""
	for _, g := range live.Groups([]live.Verdict{
		v("a", "b", "10.0.0.2", 0, live.Open, "default", "a", "edge"),
		v("a", "b", "10.0.0.2", 22, live.Open, "default", "a", "edge"),
		v("a", "b", "10.0.0.2", 80, live.Blocked, "default", "a", "edge"),
		v("a", "b", "10.0.0.2", 443, live.Open, "another", "a", "edge"),
		v("a", "b", "10.0.0.2", 444, live.Open, "default", "a", "edge", "inner"),
		published, unasked("b is off"), unasked("c is off"), unasked("b is off"),
		v("a", "c", "10.0.0.2", 22, live.Open, "default", "a", "edge"),
		v("b", "a", "10.0.0.2", 22, live.Open, "default", "a", "edge"),
		v("a", "b", "10.1.0.2", 0, live.Open, "default", "a", "edge"),
		v("a", "b", "10.1.0.2", 22, live.Open, "default", "a", "edge"),
		v("a", "b", "fd00::2", 0, live.Open, "default", "a", "edge"),
		v("a", "b", "fd00::2", 22, live.Open, "default", "a", "edge"),
		v("a", "b", "fd00::3", 22, live.Open, "default", "a", "edge"),
	}) {
		got += fmt.Sprintf("%s > %s, %s, %d: %v\n", g.From, g.To, g.Kind, len(g.Verdicts), g.Asked())
	}
	want := `a > b, open though proven blocked, 7: [{[icmp tcp/22] [{lan [10.0.0.2 fd00::2]} {dmz [10.1.0.2]}]} {[tcp/22] [{lan [fd00::3]}]}]
a > b, blocked though proven open, 1: [{[tcp/80] [{lan [10.0.0.2]}]}]
a > b, open though proven blocked, 1: [{[tcp/443] [{lan [10.0.0.2]}]}]
a > b, open though proven blocked, 1: [{[tcp/444] [{lan [10.0.0.2]}]}]
a > b, open though proven blocked, 1: [{[tcp/80] [{lan [10.0.0.2]}]}]
a > b, not asked, 2: [{[tcp/80 tcp/80] [{lan [10.0.0.2]}]}]
a > b, not asked, 1: [{[tcp/80] [{lan [10.0.0.2]}]}]
a > c, open though proven blocked, 1: [{[tcp/22] [{lan [10.0.0.2]}]}]
b > a, open though proven blocked, 1: [{[tcp/22] [{lan [10.0.0.2]}]}]
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if live.Groups(nil) != nil {
		t.Error("nothing has groups")
	}
}

// TestCount: counts are one string in JSON, whatever the rule is called.
func TestCount(t *testing.T) {
	want := []live.Count{{Rule: `forward: policy: a +3 "b" (policy.0)`, Packets: 1 << 40}, {Packets: 1}}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []live.Count
	if err := json.Unmarshal(b, &got); err != nil || !cmp.Equal(want, got) {
		t.Errorf("%s becomes %v, %v", b, got, err)
	}
	for _, bad := range []string{`[""]`, `["forward"]`, `["forward +"]`, `["forward +x"]`, `[3]`} {
		if err := json.Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s is a count", bad)
		}
	}
}
