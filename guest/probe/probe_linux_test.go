package probe_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/guest/probe/spacetest"
	"github.com/labctl-dev/labctl/lab"
)

var (
	web4, web6 = netip.MustParseAddr("10.9.0.10"), netip.MustParseAddr("fd00:9::10")
	desk4      = netip.MustParseAddr("10.9.0.11")
)

func ports(all ...string) []lab.Service {
	var out []lab.Service
	for _, s := range all {
		v, err := lab.ParseService(s)
		if err != nil {
			panic(err)
		}
		out = append(out, v)
	}
	return out
}

func listen(t *testing.T, s *spacetest.Spaces, p probe.Posts) *probe.Listening {
	t.Helper()
	p.Machine, p.Token = "web", "labctl-test"
	if p.Lifetime == 0 {
		p.Lifetime = time.Minute
	}
	l, err := probe.Listen(t.Context(), s.Shell("web"), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Stop() })
	return l
}

// ask asks from desk and returns the states by question.
func ask(t *testing.T, s *spacetest.Spaces, questions ...probe.Question) []probe.Answer {
	t.Helper()
	for i := range questions {
		questions[i].ID = i
		if questions[i].How == "" {
			questions[i].How = probe.Echo
		}
	}
	got, _, err := probe.Ask(t.Context(), s.Shell("desk"), probe.Asking{Machine: "desk", Token: "labctl-test", Parallel: 50, Questions: questions})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(got), len(questions))
	}
	out := make([]probe.Answer, len(got))
	for _, a := range got {
		out[a.ID] = a
	}
	return out
}

// TestAsk asks in every way, against our listeners, others, nobody, and rules that drop and refuse.
func TestAsk(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	serve(t, s, "web", "python3", "-c", `import socket, time
a = socket.create_server(("10.9.0.10", 23)); b = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); b.bind(("10.9.0.10", 123)); print("up", flush=True); time.sleep(600)`)
	s.Do(t, "web", `table inet test { chain in { type filter hook input priority 0
tcp dport 81 drop
udp dport 81 drop
tcp dport 82 reject with tcp reset
udp dport 82 reject
icmp type echo-request drop
}
}
`, "nft", "-f", "-")
	l := listen(t, s, probe.Posts{Addresses: []netip.Addr{web4, web6, netip.MustParseAddr("10.9.0.77")}, Leases: []string{"02:00:00:00:00:01"},
		Ports: ports("tcp/23", "tcp/80", "tcp/81", "tcp/82", "udp/80", "udp/81", "udp/82", "udp/123")})
	if want := map[probe.Place]bool{{Proto: lab.TCP, Addr: web4, Port: 23}: true, {Proto: lab.UDP, Addr: web4, Port: 123}: true}; !cmp.Equal(l.Held, want, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })) {
		t.Errorf("held: %v, want %v", l.Held, want)
	}
	if why := l.Failed[probe.Place{Proto: lab.TCP, Addr: netip.MustParseAddr("10.9.0.77"), Port: 80}]; len(l.Failed) != 8 || why != "cannot assign requested address" {
		t.Errorf("failed: %v", l.Failed)
	}
	if l.Count != 14 || len(l.Leases) != 0 {
		t.Errorf("%d listeners, leases %v", l.Count, l.Leases)
	}
	q := func(proto lab.Proto, dst netip.Addr, port uint16, how probe.How) probe.Question {
		return probe.Question{Proto: proto, Dst: dst, Port: port, How: how, Wait: 2 * time.Second}
	}
	for i, c := range []struct {
		q      probe.Question
		state  probe.State
		by     string
		detail string
	}{
		{q(lab.TCP, web4, 80, ""), probe.Open, "web", "answered"},
		{q(lab.TCP, web6, 80, ""), probe.Open, "web", "answered"},
		{q(lab.UDP, web4, 80, ""), probe.Open, "web", "answered"},
		{q(lab.UDP, web6, 80, ""), probe.Open, "web", "answered"},
		{q(lab.ICMP, web6, 0, ""), probe.Open, "", "answered"},
		{q(lab.ICMP, web4, 0, ""), probe.Silent, "", "no answer in 2 s"},
		{q(lab.TCP, web4, 81, ""), probe.Silent, "", "no answer in 2 s"},
		{q(lab.UDP, web6, 81, ""), probe.Silent, "", "no answer in 2 s"},
		{q(lab.TCP, web4, 82, ""), probe.Refused, "", "connection refused"},
		{q(lab.UDP, web4, 82, ""), probe.Refused, "", "connection refused"},
		{q(lab.TCP, web4, 23, probe.Connect), probe.Open, "", "connected"},
		{q(lab.TCP, web4, 23, ""), probe.Open, "", "connected, but nobody answered"},
		{q(lab.UDP, web4, 123, probe.NTP), probe.Unsure, "", "a time server holds the port and did not answer, which it need not"},
		{q(lab.TCP, netip.MustParseAddr("10.8.0.1"), 80, ""), probe.Failed, "", "network is unreachable"},
		{q(lab.TCP, netip.MustParseAddr("fd00:8::1"), 80, ""), probe.Failed, "", "network is unreachable"},
	} {
		// One by one, so that a failure is about this question.
		a := ask(t, s, c.q)[0]
		if a.State != c.state || a.By != c.by || a.Detail != c.detail {
			t.Errorf("%d: %+v: got %+v, want %s by %q: %s", i, c.q, a, c.state, c.by, c.detail)
		}
		if c.q.Dst == web4 && a.Source != desk4 {
			t.Errorf("%d: asked from %s, want %s", i, a.Source, desk4)
		}
	}
	if a := ask(t, s, probe.Question{Proto: lab.TCP, Dst: web4, Port: 80}, probe.Question{Proto: lab.TCP, Dst: web4, Port: 81})[1]; a.State != probe.Silent {
		t.Errorf("without Wait: %+v", a)
	}
}

// TestAskedBefore: what a filter has let through a moment ago is no open connection when it is asked again.
func TestAskedBefore(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	s.Do(t, "web", "table inet test {\nchain in {\ntype filter hook input priority 0\nct state established accept\n}\n}\n", "nft", "-f", "-")
	listen(t, s, probe.Posts{Addresses: []netip.Addr{web4}, Ports: ports("tcp/80", "udp/80")})
	questions := func() []probe.Question {
		var out []probe.Question
		for _, proto := range []lab.Proto{lab.ICMP, lab.TCP, lab.UDP} {
			out = append(out, probe.Question{Proto: proto, Dst: web4, Port: 80, Wait: 2 * time.Second})
		}
		return out
	}
	for _, a := range ask(t, s, questions()...) {
		if a.State != probe.Open {
			t.Errorf("before: %+v", a)
		}
	}
	s.Do(t, "web", "add rule inet test in ip saddr 10.9.0.11 drop\n", "nft", "-f", "-")
	for _, a := range ask(t, s, questions()...) {
		if a.State != probe.Silent {
			t.Errorf("after: %+v", a)
		}
	}
}

// TestMany: a thousand questions at once are all answered, each by its own answer.
func TestMany(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	var all []lab.Service
	var questions []probe.Question
	for port := range uint16(250) {
		for _, proto := range []lab.Proto{lab.TCP, lab.UDP} {
			all = append(all, lab.Service{Proto: proto, From: 2000 + port, To: 2000 + port})
			for _, a := range []netip.Addr{web4, web6} {
				questions = append(questions, probe.Question{Proto: proto, Dst: a, Port: 2000 + port, Wait: 10 * time.Second})
			}
		}
	}
	listen(t, s, probe.Posts{Addresses: []netip.Addr{web4, web6}, Ports: all})
	for i, a := range ask(t, s, questions...) {
		if a.State != probe.Open || a.By != "web" {
			t.Errorf("%+v: %+v", questions[i], a)
		}
	}
}

// TestListenersEnd: with Stop, with the connection, and with their lifetime; and they leave nothing behind.
func TestListenersEnd(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	posts := probe.Posts{Machine: "web", Token: "labctl-test", Addresses: []netip.Addr{web4}, Ports: ports("tcp/80", "udp/80"), Lifetime: time.Minute}
	open := func() int {
		out, err := s.Shell("web").Run(t.Context(), "ss -Hltnu | wc -l", nil)
		if err != nil {
			t.Fatal(err)
		}
		return int(out.Stdout[0] - '0')
	}
	gone := func(how string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); open() > 0; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s, and they still listen", how)
			}
		}
	}
	l, err := probe.Listen(t.Context(), s.Shell("web"), posts)
	if err != nil || open() != 2 || !l.Alive() {
		t.Fatalf("%v, %d listeners", err, open())
	}
	if err := l.Stop(); err != nil {
		t.Errorf("stopped: %v", err)
	}
	gone("stopped")

	cut := cutting{s.Shell("web"), make(chan bool)}
	l, err = probe.Listen(t.Context(), cut, posts)
	if err != nil || open() != 2 {
		t.Fatalf("%v, %d listeners", err, open())
	}
	close(cut.end)
	gone("cut off")
	_ = l.Stop()

	posts.Lifetime = time.Second
	l, err = probe.Listen(t.Context(), s.Shell("web"), posts)
	if err != nil {
		t.Fatal(err)
	}
	gone("at the end of its life")
	for end := time.Now().Add(5 * time.Second); l.Alive() && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	if l.Alive() {
		t.Error("listeners that have ended say that they stand")
	}
	_ = l.Stop()
}

// cutting is a shell whose connection is cut at end: the standard input of all that runs ends, as sshd makes it.
type cutting struct {
	guest.Shell
	end chan bool
}

func (c cutting) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	return c.Shell.Run(ctx, cmd, &cuttable{stdin, c.end})
}

type cuttable struct {
	r   io.Reader
	end chan bool
}

func (c *cuttable) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	b := make([]byte, len(p))
	read := make(chan result, 1)
	go func() {
		n, err := c.r.Read(b)
		read <- result{n, err}
	}()
	select {
	case r := <-read:
		return copy(p, b[:r.n]), r.err
	case <-c.end:
		return 0, io.EOF
	}
}

// TestBroken: a machine that cannot do it says why.
func TestBroken(t *testing.T) {
	for _, c := range []struct {
		name string
		sh   guest.Shell
		want string
	}{
		{"unreachable", fake{err: errors.New("no route")}, "cannot listen in web: no route"},
		{"no python", fake{out: guest.Output{Exit: 127, Stderr: []byte("sh: 1: python3: not found\n")}}, "cannot listen in web: exit status 127: sh: 1: python3: not found"},
		{"garbage", fake{out: guest.Output{Stdout: []byte("motd")}}, "cannot listen in web: its answer is unreadable"},
	} {
		l, err := probe.Listen(t.Context(), c.sh, probe.Posts{Machine: "web", Ports: ports("tcp/80")})
		if err == nil || l != nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
	if _, _, err := probe.Ask(t.Context(), fake{err: errors.New("no route")}, probe.Asking{Machine: "web"}); err == nil {
		t.Error("asked where nobody can be reached")
	}
	if _, err := probe.Check(t.Context(), fake{}, lab.Check{Name: "empty"}); err == nil {
		t.Error("a check that asks nothing")
	}
}

type fake struct {
	out guest.Output
	err error
}

func (f fake) Run(context.Context, string, io.Reader) (guest.Output, error) { return f.out, f.err }

func TestCounters(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	if _, err := probe.Counters(t.Context(), s.Shell("web"), "web"); err == nil || !strings.Contains(err.Error(), "No such file or directory") {
		t.Errorf("without a table: %v", err)
	}
	s.Do(t, "web", `table inet labctl { chain input { type filter hook input priority 0
tcp dport 80 counter accept comment "policy: web"
tcp dport 81 accept
udp dport 80 counter drop
}
}
`, "nft", "-f", "-")
	before, err := probe.Counters(t.Context(), s.Shell("web"), "web")
	if err != nil {
		t.Fatal(err)
	}
	listen(t, s, probe.Posts{Addresses: []netip.Addr{web4}, Ports: ports("tcp/80")})
	if a := ask(t, s, probe.Question{Proto: lab.TCP, Dst: web4, Port: 80, Wait: 5 * time.Second})[0]; a.State != probe.Open {
		t.Fatalf("%+v", a)
	}
	after, err := probe.Counters(t.Context(), s.Shell("web"), "web")
	if err != nil {
		t.Fatal(err)
	}
	moved := probe.Moved(before, after)
	if len(before) != 3 || before[1].Counts || len(moved) != 1 || moved[0].Comment != "policy: web" || moved[0].Chain != "input" || moved[0].Packets == 0 {
		t.Errorf("before %+v, after %+v, moved %+v", before, after, moved)
	}
	if !slices.Equal(probe.Moved(after, after), nil) {
		t.Error("counters move by themselves")
	}
}
