package replay

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/probe/spacetest"
	"github.com/labctl-dev/labctl/lab"
)

// replay asks everything within a scope.
func replay(t *testing.T, l lab.Lab, spaces *spacetest.Spaces, scope live.Scope) Result {
	t.Helper()
	p, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	set, err := live.Questions(l, p, scope)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	r, err := Run(ctx, Options{Lab: l, Proof: p, Set: set, Shell: spaces.Shell, Jobs: 6})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs, %d questions, %d listeners, %s", len(live.Pairs(r.Verdicts)), len(r.Verdicts), r.Ports, time.Since(began).Round(time.Millisecond))
	return r
}

// failures are the verdicts that are no success, one line each.
func failures(r Result) []string {
	var out []string
	for _, v := range r.Verdicts {
		if v.Failed() {
			out = append(out, fmt.Sprintf("%s > %s %s: %s", v.From, v.To, v.Packet, v.Kind))
		}
	}
	return out
}

// TestAgrees: a lab built from the rulesets that were proven does what was proven.
func TestAgrees(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	r := replay(t, l, spacetest.Build(t, l), live.Scope{})
	for _, v := range r.Verdicts {
		if v.Failed() {
			t.Errorf("%s > %s %s: %s: %s; the proof: %s by %v; counters %+v", v.From, v.To, v.Packet, v.Kind, v.Answer.Detail, v.Decision, v.Path, v.Counters)
		}
	}
	open := slices.DeleteFunc(slices.Clone(r.Verdicts), func(v live.Verdict) bool { return !v.Open })
	if len(open) == 0 || len(open) == len(r.Verdicts) {
		t.Errorf("%d of %d are open", len(open), len(r.Verdicts))
	}
	if !slices.ContainsFunc(open, func(v live.Verdict) bool { return v.To == "edge" && v.Answer.By == "web" && v.Packet.Dport == 8080 }) {
		t.Errorf("nobody was led to web by the published port")
	}
}

// TestChangedByHand: of a ruleset that somebody changed in a machine, exactly the flows that opened and closed are
// named, and the rule that did it.
func TestChangedByHand(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	spaces := spacetest.Build(t, l)
	web, jumpbox := address(t, l, "web", "internal"), address(t, l, "jumpbox", "perimeter")
	web6, jumpbox6 := address6(t, l, "web", "internal"), address6(t, l, "jumpbox", "perimeter")
	// The forward chain of inner, but for what lets the jumpbox in, and with a hole for what a database listens on.
	spaces.Do(t, "inner", "", "sh", "-c", `for h in $(nft -a list chain inet labctl forward | sed -n 's/.*"policy: admin.*# handle //p'); do nft delete rule inet labctl forward handle $h; done
nft insert rule inet labctl forward ip daddr `+web+` tcp dport 3306 counter accept`)

	r := replay(t, l, spaces, live.Scope{From: "jumpbox"})
	want := []string{
		"jumpbox > db icmp from " + jumpbox + " to " + address(t, l, "db", "internal") + ": blocked though proven open",
		"jumpbox > db tcp from " + jumpbox + " to " + address(t, l, "db", "internal") + ":22: blocked though proven open",
		"jumpbox > db icmp from " + jumpbox6 + " to " + address6(t, l, "db", "internal") + ": blocked though proven open",
		"jumpbox > db tcp from " + jumpbox6 + " to [" + address6(t, l, "db", "internal") + "]:22: blocked though proven open",
		"jumpbox > web icmp from " + jumpbox + " to " + web + ": blocked though proven open",
		"jumpbox > web tcp from " + jumpbox + " to " + web + ":22: blocked though proven open",
		"jumpbox > web tcp from " + jumpbox + " to " + web + ":3306: open though proven blocked",
		"jumpbox > web icmp from " + jumpbox6 + " to " + web6 + ": blocked though proven open",
		"jumpbox > web tcp from " + jumpbox6 + " to [" + web6 + "]:22: blocked though proven open",
	}
	if diff := cmp.Diff(want, failures(r)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, v := range r.Verdicts {
		if v.Kind == live.Open {
			want := []string{"chain forward has 1 rule that labctl did not make"}
			if len(v.Counters) != 1 || len(v.Counters[0].Rules) != 1 || !strings.HasPrefix(v.Counters[0].Rules[0].Rule, "forward: (handle ") || !slices.Equal(v.Counters[0].Remarks, want) {
				t.Errorf("%s: counters %+v, want those of inner and %q", v.Packet, v.Counters, want)
			}
		}
		if v.Kind == live.Blocked && v.To == "web" {
			if len(v.Counters) == 0 || !slices.ContainsFunc(v.Counters[0].Rules, func(c live.Count) bool { return strings.HasPrefix(c.Rule, `forward: default: denied between networks`) }) {
				t.Errorf("%s: counters %+v", v.Packet, v.Counters)
			}
			if v.Decision.Origin.Path != "policy.admin" {
				t.Errorf("%s: decided by %s", v.Packet, v.Decision)
			}
		}
	}
}

// TestNoRuleset: a router without its ruleset is not taken for one whose rules counted nothing.
func TestNoRuleset(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	spaces := spacetest.Build(t, l)
	spaces.Do(t, "inner", "", "nft", "delete", "table", "inet", "labctl")
	r := replay(t, l, spaces, live.Scope{From: "jumpbox", To: "web"})
	open, looked := 0, 0
	for _, v := range r.Verdicts {
		if v.Kind != live.Open {
			continue
		}
		open++
		if len(v.Counters) == 1 && strings.Contains(strings.Join(v.Counters[0].Remarks, ""), "No such file or directory") {
			looked++
		} else if v.Counters != nil {
			t.Errorf("%s: counters %+v", v.Packet, v.Counters)
		}
	}
	if open != 24 || looked != examined { // all but ssh and icmp, and syslog
		t.Errorf("%d have opened, of %d counters were looked at", open, looked)
	}
}

// TestHeld: ports that services hold are asked as far as that says something, and the others are not said to be shut.
func TestHeld(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	spaces := spacetest.Build(t, l)
	service := spaces.Command("web", "python3", "-c", `import socket, time
t = socket.create_server(("", 22)); u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.bind(("", 514))
print("up", flush=True); time.sleep(600)`)
	out, err := service.StdoutPipe()
	if err == nil {
		err = service.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { service.Process.Kill(); service.Wait() })
	if _, err := out.Read(make([]byte, 2)); err != nil {
		t.Fatal(err)
	}
	r := replay(t, l, spaces, live.Scope{From: "jumpbox", To: "web"})
	if f := failures(r); f != nil {
		t.Errorf("%q", f)
	}
	for _, v := range r.Verdicts {
		switch p := v.Packet; {
		case p.Proto == "tcp" && p.Dport == 22 && p.Dst.Is4():
			if v.Kind != live.Agrees || v.Answer.By != "" || v.Answer.Detail != "connected" {
				t.Errorf("%s: %s, %+v", p, v.Kind, v.Answer)
			}
		case p.Proto == "udp" && p.Dport == 514:
			if want := map[bool]live.Kind{true: live.Exempted, false: live.Agrees}[p.Dst.Is4()]; v.Kind != want {
				t.Errorf("%s: %s, want %s", p, v.Kind, want)
			}
		}
	}
}

// TestAway: machines that are not there, or have no Python, are named, and nothing else is delayed or spoiled by them.
func TestAway(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	spaces := spacetest.Build(t, l)
	p, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	set, err := live.Questions(l, p, live.Scope{From: "jumpbox"})
	if err != nil {
		t.Fatal(err)
	}
	broken := func(name string) guest.Shell {
		if name == "db" {
			return pathless{spaces.Shell(name)}
		}
		return spaces.Shell(name)
	}
	began := time.Now()
	r, err := Run(t.Context(), Options{Lab: l, Proof: p, Set: set, Shell: broken, Jobs: 4, Away: map[string]string{"web": "it is off"}})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	if len(r.Away) != 2 || r.Away["web"] != "it is off" || !strings.Contains(r.Away["db"], "cannot listen in db: exit status 127: ") {
		t.Errorf("away: %q", r.Away)
	}
	for _, v := range r.Verdicts {
		away := v.To == "web" || v.By == "web" || v.To == "db"
		if away != (v.Kind == live.Unanswered) || !away && v.Kind != live.Agrees {
			t.Errorf("%s > %s: %s: %s", v.From, v.To, v.Kind, v.Answer.Detail)
		}
	}
}

// pathless is a machine without Python.
type pathless struct{ guest.Shell }

func (p pathless) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	return p.Shell.Run(ctx, "PATH=/nowhere; id() { echo 0; }; "+cmd, stdin)
}

func address(t *testing.T, l lab.Lab, machine, network string) string {
	t.Helper()
	m, _ := l.Machine(machine)
	nic, ok := m.NIC(network)
	if !ok {
		t.Fatalf("%s is not on %s", machine, network)
	}
	return nic.Addr.String()
}

func address6(t *testing.T, l lab.Lab, machine, network string) string {
	t.Helper()
	m, _ := l.Machine(machine)
	nic, _ := m.NIC(network)
	return nic.Addr6.String()
}
