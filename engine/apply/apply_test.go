package apply

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name string
		p    plan.Plan
		want []string
	}{
		{"nothing", planOf(), nil},
		{"made after what it needs", planOf(create("machine/web", "disk/web"), create("disk/web", "image/deb"), create("image/deb")),
			[]string{"put image/deb", "put disk/web", "put machine/web"}},
		{"deleted before what it holds on to", planOf(remove("network/lan"), remove("machine/web", "network/lan", "disk/web"), remove("disk/web")),
			[]string{"remove machine/web", "remove network/lan", "remove disk/web"}},
		{"made again: down in one order, up in the other", planOf(replace("disk/web"), replace("machine/web", "disk/web"), replace("guest/web", "machine/web")),
			[]string{"remove guest/web", "remove machine/web", "remove disk/web", "put disk/web", "put machine/web", "put guest/web"}},
		{"an update lets go before the deletion", planOf(remove("network/old"), update("machine/web", []string{"network/old"}, []string{"network/new"}), create("network/new")),
			[]string{"put network/new", "put machine/web", "remove network/old"}},
		{"an update that keeps holding on follows what is made again", planOf(replace("network/lan"), update("machine/web", []string{"network/lan"}, []string{"network/lan"})),
			[]string{"remove network/lan", "put network/lan", "put machine/web"}},
		{"two that change places on networks that are made again", planOf(replace("network/a"), replace("network/b"),
			update("machine/1", []string{"network/a"}, []string{"network/b"}), update("machine/2", []string{"network/b"}, []string{"network/a"})),
			[]string{"remove network/b", "put network/b", "put machine/1", "remove network/a", "put network/a", "put machine/2"}},
		{"a change comes after those it follows, whatever their kinds", planOf(follows(update("machine/gate", nil, nil), "machine/web", "machine/gone"), update("machine/web", nil, nil)),
			[]string{"put machine/web", "put machine/gate"}},
		{"following is no more than a wish", planOf(follows(update("machine/a", nil, nil), "machine/b"), follows(update("machine/b", nil, nil), "machine/a")),
			[]string{"put machine/b", "put machine/a"}},
		{"needs outside the plan do not matter", planOf(create("machine/web", "network/there")), []string{"put machine/web"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newToy().seed(c.p)
			r, err := Run(context.Background(), w, c.p, Options{Parallel: 1})
			if err != nil || r.Err() != nil {
				t.Fatal(err, r.Err())
			}
			if diff := cmp.Diff(c.want, w.calls); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(w.wrong) > 0 && c.name != "an update that keeps holding on follows what is made again" {
				t.Error(w.wrong)
			}
			for i, x := range r.Results {
				if x.State != Done || x.Addr != c.p.Changes[i].Addr {
					t.Errorf("result %d: %+v", i, x)
				}
			}
		})
	}
}

// TestNotes: what a provider says must be known is in the report, also of a change that fails, or was tried twice.
func TestNotes(t *testing.T) {
	w := newToy().seed(planOf(remove("disk/web"), remove("disk/db")))
	w.before = func(_ context.Context, call string, p provider.Progress) error {
		p(provider.Step{Phase: "keeping", Note: call + ": kept"})
		if call == "remove disk/db" {
			return errors.New("no")
		}
		return nil
	}
	r, err := Run(context.Background(), w, planOf(remove("disk/web"), remove("disk/db")), Options{Parallel: 2})
	if err != nil {
		t.Fatal(err)
	}
	got := [][]string{r.Results[0].Notes, r.Results[1].Notes}
	if diff := cmp.Diff([][]string{{"remove disk/web: kept"}, {"remove disk/db: kept"}}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestCycle(t *testing.T) {
	w := newToy()
	_, err := Run(context.Background(), w, planOf(create("a/1", "b/2"), create("b/2", "a/1"), create("c/3")), Options{Parallel: 2})
	if provider.CodeOf(err) != provider.Internal || !strings.Contains(err.Error(), "create toy.a/1, create toy.b/2") {
		t.Errorf("error %v, want one that names the cycle", err)
	}
	if len(w.calls) > 0 {
		t.Errorf("did %v all the same", w.calls)
	}
}

// TestNotWhole gives Run changes as a damaged file may hold them.
func TestNotWhole(t *testing.T) {
	for _, c := range []plan.Change{{Addr: at("a/1"), Action: plan.Create}, {Addr: at("a/1"), Action: plan.Delete}, {Addr: at("a/1"), Action: "explode"},
		{Addr: at("a/1"), Action: plan.Replace, After: &provider.Resource{}}, {Addr: at("a/1"), Action: plan.Update, Before: &provider.Observed{}}} {
		w := newToy()
		if _, err := Run(context.Background(), w, planOf(create("b/1"), c), Options{}); provider.CodeOf(err) != provider.Invalid || len(w.calls) > 0 {
			t.Errorf("%s: error %v, calls %v", c.Action, err, w.calls)
		}
	}
}

func TestParallel(t *testing.T) {
	var cs []plan.Change
	for i := range 40 {
		cs = append(cs, create(fmt.Sprintf("disk/%d", i)))
	}
	for _, n := range []int{0, 1, 3, 8} {
		w := newToy()
		w.pause = 2 * time.Millisecond
		if r, err := Run(context.Background(), w, planOf(cs...), Options{Parallel: n}); err != nil || r.Err() != nil {
			t.Fatal(err, r.Err())
		}
		if w.most != max(n, 1) {
			t.Errorf("parallel %d: %d at once", n, w.most)
		}
	}
}

func TestFailureSkipsWhatDepends(t *testing.T) {
	w := newToy()
	w.before = func(_ context.Context, call string, _ provider.Progress) error {
		switch call {
		case "put disk/web":
			return &provider.Error{Op: "create", Addr: at("disk/web"), Code: provider.Full, Text: "no space left"}
		case "put disk/db":
			return errors.New("a plain error")
		}
		return nil
	}
	var events []string
	p := planOf(create("disk/db"), create("disk/web"), create("machine/web", "disk/web"), create("guest/web", "machine/web"), create("network/lan"))
	r, err := Run(context.Background(), w, p, Options{Parallel: 1, Events: func(e Event) { events = append(events, e.Addr.Name+" "+string(e.State)+" "+e.Error) }})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, x := range r.Results {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", x.Addr, x.State, x.Code, x.Error)))
	}
	want := []string{
		"toy.disk/db failed internal cannot create toy.disk/db: a plain error",
		"toy.disk/web failed full cannot create toy.disk/web: no space left",
		"toy.machine/web skipped  not started: toy.disk/web failed",
		"toy.guest/web skipped  not started: toy.disk/web failed",
		"toy.network/lan done",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("results: -want +got:\n%s", diff)
	}
	wantEvents := []string{
		"db started ", "db failed cannot create toy.disk/db: a plain error", "web started ", "web failed cannot create toy.disk/web: no space left",
		"web skipped not started: toy.disk/web failed", "web skipped not started: toy.disk/web failed", "lan started ", "lan done ",
	}
	if diff := cmp.Diff(wantEvents, events); diff != "" {
		t.Errorf("events: -want +got:\n%s", diff)
	}
	if text := r.Err().Error(); text != want[0][len("toy.disk/db failed internal "):]+"\ncannot create toy.disk/web: no space left" {
		t.Errorf("the report's error: %s", text)
	}
}

func TestRetry(t *testing.T) {
	for _, c := range []struct {
		name  string
		code  provider.Code
		fails int // times
		calls int
		want  string
	}{
		{"busy twice", provider.Busy, 2, 3, ""},
		{"unavailable four times", provider.Unavailable, 4, 5, ""},
		{"busy for ever", provider.Busy, 99, 5, "cannot create toy.disk/web: not now (tried 5 times)"},
		{"in use is not tried again", provider.InUse, 99, 1, "cannot create toy.disk/web: not now"},
		{"crashed is not tried again", provider.Crashed, 99, 1, "cannot create toy.disk/web: not now"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, calls := newToy(), 0
			var at0 []time.Time
			w.before = func(context.Context, string, provider.Progress) error {
				at0 = append(at0, time.Now())
				if calls++; calls <= c.fails {
					return &provider.Error{Code: c.code, Text: "not now"}
				}
				return nil
			}
			again := 0
			r, err := Run(context.Background(), w, planOf(create("disk/web")), Options{Backoff: 4 * time.Millisecond, Events: func(e Event) {
				if e.State == Running && e.Step.Phase == "trying again" && e.Error != "" {
					again++
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Results[0].Error; got != c.want {
				t.Errorf("error %q, want %q", got, c.want)
			}
			if c.want != "" && r.Results[0].Code != c.code {
				t.Errorf("code %q, want %q", r.Results[0].Code, c.code)
			}
			if calls != c.calls || again != c.calls-1 {
				t.Errorf("%d calls and %d events, want %d calls", calls, again, c.calls)
			}
			for i := 1; i < len(at0); i++ {
				if pause := at0[i].Sub(at0[i-1]); pause < 4*time.Millisecond<<(i-1) {
					t.Errorf("pause %d was %s", i, pause)
				}
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	slow := func(ctx context.Context, _ string, p provider.Progress) error {
		p(provider.Step{Phase: "booting"})
		<-ctx.Done()
		return ctx.Err()
	}
	busy := func(context.Context, string, provider.Progress) error {
		return &provider.Error{Code: provider.Busy, Text: "another backup is running"}
	}
	clumsy := func(ctx context.Context, call string, p provider.Progress) error {
		_ = slow(ctx, call, p)
		return &provider.Error{Op: "create", Addr: at("disk/web"), Code: provider.Timeout, Text: "the monitor is silent"}
	}
	for _, c := range []struct {
		name   string
		before func(context.Context, string, provider.Progress) error
		want   string
	}{
		{"says what it was doing", slow, "cannot create toy.disk/web: not done after 20ms; it was booting"},
		{"while waiting to try again", busy, "cannot create toy.disk/web: not done after 20ms: another backup is running"},
		{"with the worker's own reason", clumsy, "cannot create toy.disk/web: not done after 20ms; it was booting: the monitor is silent"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newToy()
			w.limit, w.before = 20*time.Millisecond, c.before
			r, err := Run(context.Background(), w, planOf(create("disk/web")), Options{Backoff: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if x := r.Results[0]; x.Error != c.want || x.Code != provider.Timeout {
				t.Errorf("%s %q, want %q", x.Code, x.Error, c.want)
			}
		})
	}
}

// TestStop ends a run from within its first call.
func TestStop(t *testing.T) {
	three := []plan.Change{create("disk/a"), create("disk/b"), create("disk/c", "disk/a")}
	for _, c := range []struct {
		name   string
		p      plan.Plan
		cancel bool
		early  bool // before Run
		want   []string
		text   string
	}{
		{"stop: what runs is finished", planOf(three...), false, false,
			[]string{"done ", "skipped not started: stopped", "skipped not started: stopped"}, "stopped: 2 of 3 changes were not started"},
		{"stop before it began", planOf(three...), false, true,
			[]string{"skipped not started: stopped", "skipped not started: stopped", "skipped not started: stopped"}, "stopped: 3 of 3 changes were not started"},
		{"cancel: what runs is told", planOf(three...), true, false,
			[]string{"failed cannot create toy.disk/a: context canceled", "skipped not started: canceled", "skipped not started: toy.disk/a failed"}, "cannot create toy.disk/a: context canceled"},
		{"half a replacement is told as what it is", planOf(replace("disk/a")), false, false,
			[]string{"skipped deleted, but not made again: stopped"}, "stopped: 1 of 1 changes were not started"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stop := make(chan struct{})
			var once sync.Once
			w := newToy().seed(c.p)
			w.before = func(ctx context.Context, _ string, _ provider.Progress) error {
				if c.cancel {
					cancel()
					return ctx.Err()
				}
				once.Do(func() { close(stop) })
				return nil
			}
			if c.early {
				once.Do(func() { close(stop) })
			}
			r, err := Run(ctx, w, c.p, Options{Parallel: 1, Stop: stop})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, x := range r.Results {
				got = append(got, string(x.State)+" "+x.Error)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if r.Err() == nil || r.Err().Error() != c.text || provider.CodeOf(r.Err()) != provider.Canceled {
				t.Errorf("error %v (%s), want %q", r.Err(), provider.CodeOf(r.Err()), c.text)
			}
		})
	}
}

// TestCancelDuringPause cancels while a step waits to be tried again.
func TestCancelDuringPause(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w, calls := newToy(), 0
	w.before = func(context.Context, string, provider.Progress) error {
		calls++
		return &provider.Error{Code: provider.Busy, Text: "not now"}
	}
	r, err := Run(ctx, w, planOf(create("disk/a")), Options{Backoff: time.Hour, Events: func(e Event) {
		if e.State == Running {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if x := r.Results[0]; calls != 1 || x.Code != provider.Canceled || x.Error != "cannot create toy.disk/a: canceled before another try: not now" {
		t.Errorf("%d calls, %s %q", calls, x.Code, x.Error)
	}
}

// TestFailureWhileHalfReplaced fails what a replacement needs while its first half is at work.
func TestFailureWhileHalfReplaced(t *testing.T) {
	p := planOf(create("network/new"), replace("machine/web", "network/new"))
	p.Changes[1].Before.Needs = nil
	w := newToy().seed(p)
	begun, failed := make(chan struct{}), make(chan struct{})
	w.before = func(_ context.Context, call string, _ provider.Progress) error {
		if call == "put network/new" {
			<-begun
			return errors.New("no")
		}
		close(begun)
		<-failed
		return nil
	}
	r, err := Run(context.Background(), w, p, Options{Parallel: 2, Events: func(e Event) {
		if e.State == Failed {
			close(failed)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Results[1].Error, "deleted, but not made again: toy.network/new failed"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
