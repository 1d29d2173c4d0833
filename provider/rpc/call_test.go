package rpc_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func TestAbilitiesAreThoseAnnounced(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	if _, err := p.(provider.Doctor).Doctor(t.Context()); err != nil {
		t.Errorf("announced: %v", err)
	}
	_, err := p.(provider.Consoler).Console(t.Context(), lab.Lab{}, "web")
	wantError(t, err, provider.Unsupported, `the ability "console"`)
	_, err = p.(provider.Snapshotter).Snapshots(t.Context(), lab.Lab{})
	wantError(t, err, provider.Unsupported, `the ability "snapshot"`)
	err = p.(provider.Snapshotter).TakeSnapshot(t.Context(), lab.Lab{}, provider.Snapshot{Name: "a"}, provider.Silent)
	wantError(t, err, provider.Unsupported, "cannot take snapshot a", `the ability "snapshot"`)
}

func TestErrorsKeepTheirCode(t *testing.T) {
	c := launch(t, "puppet")
	p := puppetOf(t, c)
	tests := []struct {
		name string
		want provider.Error
	}{
		{"error", provider.Error{Op: "make", Addr: deed("other"), Code: provider.Full, Text: "no space left"}},
		{"plain-error", provider.Error{Op: "create", Addr: deed("plain-error"), Code: provider.Internal, Text: "plain"}},
		{"gives-up", provider.Error{Op: "create", Addr: deed("gives-up"), Code: provider.Canceled, Text: "context canceled"}},
		{"panic", provider.Error{Op: "create", Addr: deed("panic"), Code: provider.Internal, Text: "the plugin panicked: puppet fell over (its log has the stack)"}},
	}
	for _, tt := range tests {
		err := p.Create(t.Context(), provider.Resource{Addr: deed(tt.name)}, provider.Silent)
		if d := cmp.Diff(&tt.want, err); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("long-error")}, provider.Silent); len(err.Error()) > 20000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
	_, err := c.New(provider.Options{Target: "refused"})
	if d := cmp.Diff(&provider.Error{Op: "configure", Code: provider.Denied, Text: "no entry"}, err); d != "" {
		t.Errorf("New (-want +got):\n%s", d)
	}
}

func TestProgress(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	var got []provider.Step
	collect := func(s provider.Step) { got = append(got, s) }
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("steps")}, collect); err != nil {
		t.Fatal(err)
	}
	var want []provider.Step
	for i := range int64(5) {
		want = append(want, provider.Step{Phase: "walking", Done: i, Total: 5})
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("steps (-want +got):\n%s", d)
	}
	slow := func(provider.Step) { time.Sleep(time.Millisecond) }
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("many-steps")}, slow); err != nil {
		t.Errorf("a slow reader of many steps: %v", err)
	}
	notes := 0
	slowly := func(s provider.Step) {
		time.Sleep(100 * time.Microsecond)
		if s.Note != "" {
			notes++
		}
	}
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("notes")}, slowly); err != nil || notes != 1000 {
		t.Errorf("of 1000 notes %d came: %v", notes, err)
	}
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("late-step")}, provider.Silent); err != nil {
		t.Error(err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("steps")}, provider.Silent); err != nil {
		t.Errorf("after a step that came too late: %v", err)
	}
}

func TestCancelReachesTheProvider(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	tests := []struct {
		name, saw string
		code      provider.Code
		end       func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"cancel", "context canceled", provider.Canceled, func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(200*time.Millisecond, cancel)
			return ctx, cancel
		}},
		{"deadline", "context", provider.Timeout, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 200*time.Millisecond)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "saw")
			ctx, cancel := tt.end(t.Context())
			defer cancel()
			err := p.Create(ctx, provider.Resource{Addr: deed("wait"), Attrs: provider.Attrs{"file": file}}, provider.Silent)
			wantError(t, err, tt.code, "cannot create puppet.deed/wait")
			for range 100 {
				if b, _ := os.ReadFile(file); strings.Contains(string(b), tt.saw) {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			t.Error("the provider's context did not end")
		})
	}
}

// A provider that is deaf to its context does not make the caller wait.
func TestHangInACall(t *testing.T) {
	c := launch(t, "puppet")
	p := puppetOf(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := p.Create(ctx, provider.Resource{Addr: deed("deaf")}, provider.Silent)
	wantError(t, err, provider.Timeout, "cannot create puppet.deed/deaf", "did not answer in time", "last seen sulking")
	if err := p.Create(t.Context(), provider.Resource{Addr: deed("fine")}, provider.Silent); err != nil {
		t.Errorf("the next call: %v", err)
	}
	c.Close()
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("with closing it took %v", took)
	}
}

func TestHangInNew(t *testing.T) {
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "puppet", Dirs: []string{program(t, "puppet")}, Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.New(provider.Options{Target: "hang"})
	wantError(t, err, provider.Timeout, "cannot configure provider puppet")
}

// A crash fails every call in flight, and every later one, in the same way.
func TestCrash(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	names := []string{"crash", "deaf", "deaf", "deaf"}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { errs[i] = p.Create(t.Context(), provider.Resource{Addr: deed(name)}, provider.Silent) })
	}
	wg.Wait()
	_, err := p.Observe(t.Context(), lab.Lab{})
	for _, err := range append(errs, err) {
		wantError(t, err, provider.Crashed, "plugin puppet (", "died: exit status 7", "last words 29", "last words 10")
		if err != nil && strings.Contains(err.Error(), "last words 9\n") {
			t.Errorf("more than the last 20 lines: %v", err)
		}
	}
}

func TestKilledFromOutside(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	ds, err := p.(provider.Doctor).Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	fmt.Sscan(ds[0].Detail, &pid)
	time.AfterFunc(200*time.Millisecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	err = p.Create(t.Context(), provider.Resource{Addr: deed("deaf")}, provider.Silent)
	wantError(t, err, provider.Crashed, "died: signal: killed", "its log is empty", "last seen sulking")
}

// A stopped process cannot be asked to end; it is ended all the same.
func TestCloseStopped(t *testing.T) {
	c := launch(t, "puppet")
	ds, err := puppetOf(t, c).(provider.Doctor).Doctor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	fmt.Sscan(ds[0].Detail, &pid)
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	begin := time.Now()
	c.Close()
	if took := time.Since(begin); took > 6*time.Second {
		t.Errorf("Close took %v", took)
	}
	waitGone(t, pid)
}

// The observation of a thousand machines, 8 MB, fits.
func TestBigLab(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	l := lab.Lab{Name: "big"}
	seeds := map[string]lab.Seed{}
	for i := range 1000 {
		name := fmt.Sprintf("m%d", i)
		l.Machines = append(l.Machines, lab.Machine{Name: name})
		seeds[name] = lab.Seed{Machine: name, UserData: make([]byte, 20<<10)}
	}
	os, err := p.Observe(t.Context(), l)
	if err != nil || len(os) != 1000 {
		t.Errorf("observed %d, %v", len(os), err)
	}
	rs, err := p.Expand(l, seeds)
	if err != nil || len(rs) != 1 || rs[0].Attrs["n"] != 1000.0 {
		t.Errorf("expanded with 20 MB of seeds: %v, %v", rs, err)
	}
}

func TestLog(t *testing.T) {
	var b safeBuilder
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	c, err := rpc.Launch(t.Context(), rpc.Launcher{Name: "puppet", Dirs: []string{program(t, "puppet")}, Log: log, Env: []string{"GOTRACEBACK=all"}})
	if err != nil {
		t.Fatal(err)
	}
	p := puppetOf(t, c)
	_ = p.Create(t.Context(), provider.Resource{Addr: deed("panic")}, provider.Silent)
	_ = p.Create(t.Context(), provider.Resource{Addr: deed("print")}, provider.Silent)
	c.Close()
	for _, want := range []string{"panic in Create: puppet fell over", "plugins_test.go", "printed by mistake", "plugin=puppet"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, b.String())
		}
	}
}

type safeBuilder struct {
	mu sync.Mutex
	strings.Builder
}

func (b *safeBuilder) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}
