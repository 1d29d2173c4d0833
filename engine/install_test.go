package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// installer is a double of what is heard of a machine's installer: each look hears the next of news, the last for ever. When
// all was heard the machine's inside is there.
type installer struct {
	inside
	mu      sync.Mutex
	news    []provider.Installation
	err     error // of every look
	dies    error // of every look once all news were heard
	started []lab.Boot
	all     chan struct{}
}

func (i *installer) Installing(context.Context, lab.Lab) ([]provider.Installation, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.news) == 0 || i.err != nil {
		return nil, i.err
	}
	now := i.news[0]
	if len(i.news) > 1 {
		i.news = i.news[1:]
	} else if i.dies != nil {
		i.err = i.dies
	} else if now.Done && i.all != nil {
		close(i.all)
		i.all = nil
	}
	if now.Of == 0 {
		return nil, nil
	}
	return []provider.Installation{now}, nil
}

// Converge waits for the installer, and the context.
func (i *installer) Converge(ctx context.Context, _ lab.Machine, _ lab.Seed, p provider.Progress) error {
	i.mu.Lock()
	all := i.all
	i.mu.Unlock()
	p(provider.Step{Phase: "waiting for ssh"})
	select {
	case <-all:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// starter notes what a machine is started from.
type starter struct {
	provider.Provider
	i *installer
}

func (s *starter) StartOnce(_ context.Context, _ lab.Lab, x provider.Start, _ provider.Progress) error {
	s.i.mu.Lock()
	defer s.i.mu.Unlock()
	s.i.started = append(s.i.started, x.From)
	return nil
}

func at(second, number, percent int) provider.Installation {
	return provider.Installation{Machine: "m0000", Phase: "write", Number: number, Of: 7, Percent: percent, When: time.Unix(int64(second), 0)}
}

// TestInstalling checks what is made of the news of an installer while its machine is waited for.
func TestInstalling(t *testing.T) {
	failed, done := at(3, 4, 61), at(4, 7, 100)
	failed.Error, failed.Log = "the digest is wrong", []string{"one", "two"}
	done.Done = true
	at6 := at(6, 7, 100)
	at6.Done = true
	begun := at(4, 4, 7)
	begun.Error = "it has ended without a word"
	crashed := at(2, 4, 61)
	crashed.Error = "it has ended without a word"
	for _, c := range []struct {
		name  string
		again bool // the machine is there already
		news  []provider.Installation
		err   error
		dies  error // of every look once all news were heard
		ready time.Duration
		want  []string // of its phases
		fails string
		start []lab.Boot
	}{
		{name: "goes well", news: []provider.Installation{{}, at(1, 1, 0), at(2, 4, 61), done},
			want: []string{"waiting for ssh", "installing 1/7 (write) 0%", "installing 4/7 (write) 61%", "installed, starting from its disk"}},
		{name: "fails", news: []provider.Installation{{}, at(2, 4, 61), failed}, fails: "cannot create memory.guest/m0000: m0000: installing failed at 4/7 (write): the digest is wrong; last lines of its installer:\n    one\n    two",
			want: []string{"waiting for ssh", "installing 4/7 (write) 61%"}},
		{name: "of a machine that starts over, what was heard before is no news", news: []provider.Installation{failed, at(5, 2, 0), done},
			want: []string{"waiting for ssh", "installing 2/7 (write) 0%", "installed, starting from its disk"}},
		{name: "of one that has failed before, which is started over", again: true, news: []provider.Installation{failed, failed, at(5, 2, 0), done}, start: []lab.Boot{"network:office"},
			want: []string{"waiting for ssh", "starting over from the network: its installer had failed", "installing 2/7 (write) 0%", "installed, starting from its disk"}},
		{name: "of one that has failed, and had begun anew when it is started over", again: true, news: []provider.Installation{failed, at(4, 4, 7), begun, at(5, 2, 0), at6}, start: []lab.Boot{"network:office"},
			want: []string{"waiting for ssh", "starting over from the network: its installer had failed", "installing 2/7 (write) 0%", "installed, starting from its disk"}},
		{name: "of one that is at it", again: true, news: []provider.Installation{at(5, 2, 7), done},
			want: []string{"waiting for ssh", "installing 2/7 (write) 7%", "installed, starting from its disk"}},
		{name: "nothing is heard", ready: 100 * time.Millisecond, want: []string{"waiting for ssh"}, fails: "nothing was heard of its installer: it got no lease"},
		{name: "nothing is heard of one that was there", again: true, ready: 300 * time.Millisecond, start: []lab.Boot{"network:office"}, fails: "nothing was heard of its installer: it got no lease",
			want: []string{"waiting for ssh", "starting over from the network: nothing was heard of its installer for 20ms"}},
		{name: "nobody can be asked", ready: 100 * time.Millisecond, err: errors.New("the provisioner is off"), want: []string{"waiting for ssh"}, fails: "nothing was heard of its installer: the provisioner is off"},
		{name: "it stops saying anything", news: []provider.Installation{{}, at(2, 4, 61)}, want: []string{"waiting for ssh", "installing 4/7 (write) 61%"},
			fails: "m0000: installing failed at 4/7 (write): nothing was heard of its installer for 20ms"},
		{name: "its kernel starts, and says nothing", ready: 200 * time.Millisecond, news: []provider.Installation{{}, at(2, 0, 0)}, want: []string{"waiting for ssh", "installing 0/7 (write) 0%"},
			fails: "the last that was heard of its installer, at 1970-01-01T00:00:02Z: installing 0/7 (write), 0 %"},
		{name: "it ends without a word", news: []provider.Installation{{}, at(2, 4, 61), crashed}, want: []string{"waiting for ssh", "installing 4/7 (write) 61%"},
			fails: "m0000: installing failed at 4/7 (write): it has ended without a word"},
		{name: "who installs dies meanwhile", news: []provider.Installation{{}, at(2, 4, 61)}, dies: errors.New("connection refused"), want: []string{"waiting for ssh", "installing 4/7 (write) 61%"},
			fails: "m0000: installing failed at 4/7 (write): who installs it has not answered for 40ms: connection refused"},
		{name: "of one that is there, and started over without a word", again: true, ready: 300 * time.Millisecond, news: []provider.Installation{at(2, 4, 61)}, start: []lab.Boot{"network:office"},
			want:  []string{"waiting for ssh", "installing 4/7 (write) 61%", "starting over from the network: nothing was heard of its installer for 20ms"},
			fails: "the last that was heard of its installer, at 1970-01-01T00:00:02Z: installing 4/7 (write), 61 %"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, l := open(t, t.TempDir()), labOf(1)
			l.Networks[0].Netboot, l.Machines[0].Install = lab.ByHost, lab.FromNetwork
			l.Machines[0].Ready = lab.Duration(time.Minute)
			l = lab.Complete(l)
			if c.again { // all but its inside is there
				e.Guests = &inside{err: errors.New("not yet")}
				run(t, e, l, engine.ApplyOptions{})
			}
			if c.ready > 0 {
				l.Machines[0].Ready = lab.Duration(c.ready)
			}
			i := &installer{news: c.news, err: c.err, dies: c.dies, all: make(chan struct{})}
			e.Guests, e.Installing, e.Provider = i, i.Installing, &starter{e.Provider, i}
			var phases []string
			report := run(t, e, l, engine.ApplyOptions{Look: 2 * time.Millisecond, Silence: 20 * time.Millisecond, Options: apply.Options{Events: func(x apply.Event) {
				if x.Step == nil || x.Addr.Kind != "guest" || x.Step.Phase == "creating" {
					return
				}
				phase := x.Step.Phase
				if x.Step.Share {
					phase += " " + strings.TrimSuffix(lab.Bytes(x.Step.Done).String(), "B") + "%"
				}
				phases = append(phases, phase)
			}}})
			if diff := cmp.Diff(c.want, phases); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if diff := cmp.Diff(c.start, i.started); diff != "" {
				t.Errorf("started over: -want +got:\n%s", diff)
			}
			if err := report.Err(); c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("error %v, want %q", err, c.fails)
			}
		})
	}
}

// run plans and applies.
func run(t *testing.T, e engine.Engine, l lab.Lab, o engine.ApplyOptions) apply.Report {
	t.Helper()
	po := planOptions(l)
	p, err := e.Plan(t.Context(), l, po)
	if err != nil {
		t.Fatal(err)
	}
	all := applyOptions(l, po)
	all.Look, all.Silence, all.Events = o.Look, o.Silence, o.Events
	r, err := e.Apply(t.Context(), l, p, all)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRewritten wipes the disk of a machine that another of the lab installs: while its installer is at work its inside is
// planned anew, and no longer.
func TestRewritten(t *testing.T) {
	e, l := open(t, t.TempDir()), labOf(2)
	l.Machines[0].Roles = []lab.Role{{Name: "provisioner", Installs: true}}
	l.Machines[1].Install = lab.FromNetwork
	l = lab.Complete(l)
	e.Guests = &inside{}
	if err := run(t, e, l, engine.ApplyOptions{}).Err(); err != nil {
		t.Fatal(err)
	}
	heard := provider.Installation{Machine: "m0001", Phase: "write", Number: 4, Of: 7, When: time.Now()}
	asked := 0
	for _, c := range []struct {
		name string
		make func(i provider.Installation) provider.Installation
		err  error
		want string
	}{
		{name: "at work", want: "memory.guest/m0001 create"},
		{name: "one of two cannot be asked", err: errors.New("it is off"), want: "memory.guest/m0001 create"},
		{name: "done", make: func(i provider.Installation) provider.Installation { i.Number, i.Done = 7, true; return i }},
		{name: "its last word was lost", make: func(i provider.Installation) provider.Installation { i.Number = 7; return i }},
		{name: "long ago", make: func(i provider.Installation) provider.Installation { i.When = time.Now().Add(-time.Hour); return i }},
		{name: "another's", make: func(i provider.Installation) provider.Installation { i.Machine = "m0007"; return i }},
	} {
		now := heard
		if c.make != nil {
			now = c.make(now)
		}
		e.Installing = func(context.Context, lab.Lab) ([]provider.Installation, error) {
			asked++
			return []provider.Installation{now}, c.err
		}
		p, err := e.Plan(t.Context(), l, planOptions(l))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range p.Changes {
			got = append(got, x.Addr.String()+" "+string(x.Action))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, ", ")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, diff)
		}
	}
	if asked != 6 {
		t.Errorf("asked %d times, want once for each plan", asked)
	}
}
