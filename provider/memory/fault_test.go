package memory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/rpc"
)

func open(t *testing.T, p provider.Plugin, home string, values map[string]any) provider.Provider {
	t.Helper()
	m, err := p.New(provider.Options{Home: home, Target: "test", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// resources are those of the judge's lab, in creation order.
func resources(t *testing.T, p provider.Provider) []provider.Resource {
	t.Helper()
	l := providertest.Lab()
	rs, err := p.Expand(l, map[string]lab.Seed{"gate": {Digest: "sha256:1"}, "web": {Digest: "sha256:2"}})
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func observe(t *testing.T, p provider.Provider) map[string]bool {
	t.Helper()
	found, err := p.Observe(t.Context(), providertest.Lab())
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, o := range found {
		names[o.Addr.String()] = true
	}
	return names
}

func TestFail(t *testing.T) {
	p := open(t, memory.Plugin(), t.TempDir(), map[string]any{
		"fail":    map[string]any{"create memory.network/office": "busy*2", "observe": "unavailable*1", "expand": "unsupported*1"},
		"foreign": []any{"memory.network/out"},
	})
	if _, err := p.Expand(lab.Lab{}, nil); provider.CodeOf(err) != provider.Unsupported {
		t.Errorf("expand: %v", err)
	}
	if _, err := p.Observe(t.Context(), lab.Lab{}); provider.CodeOf(err) != provider.Unavailable {
		t.Errorf("observe: %v", err)
	}
	got := map[string][]provider.Code{}
	for _, r := range resources(t, p) {
		if r.Addr.Kind == "network" {
			for range 3 {
				got[r.Addr.Name] = append(got[r.Addr.Name], provider.CodeOf(p.Create(t.Context(), r, provider.Silent)))
			}
		}
	}
	want := map[string][]provider.Code{
		"office": {provider.Busy, provider.Busy, ""},
		"out":    {provider.Foreign, provider.Foreign, provider.Foreign},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("codes (-want +got):\n%s", d)
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []provider.Options{
		{Home: "relative", Target: "test"},
		{Home: "/tmp"},
		{Home: "/tmp", Target: "test", Values: map[string]any{"delay": "long"}},
		{Home: "/tmp", Target: "test", Values: map[string]any{"fail": "everything"}},
	} {
		if _, err := memory.Plugin().New(o); provider.CodeOf(err) != provider.Invalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestCanceledInTheMiddle(t *testing.T) {
	p := open(t, memory.Plugin(), t.TempDir(), map[string]any{"delay": "1m"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := p.Create(ctx, resources(t, p)[0], provider.Silent)
	if provider.CodeOf(err) != provider.Timeout {
		t.Errorf("in the middle of a delay: %v", err)
	}
	if got := observe(t, p); len(got) > 0 {
		t.Errorf("made all the same: %v", got)
	}
}

func TestHang(t *testing.T) {
	p := open(t, launch(t).Plugin(), t.TempDir(), map[string]any{"hang": "create memory.network/office"})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, r := range resources(t, p) {
		if err := p.Create(ctx, r, provider.Silent); r.Addr.Name == "office" {
			if provider.CodeOf(err) != provider.Timeout {
				t.Errorf("a hang: %v", err)
			}
			return
		}
	}
}

// The plugin dies before and after every change of a creation and of a deletion; each time another goes on and finishes.
func TestCrashAnywhere(t *testing.T) {
	here := memory.Plugin()
	n := len(resources(t, open(t, here, t.TempDir(), nil)))
	for change := 1; change <= n; change++ {
		for _, when := range []string{"before", "after"} {
			crash := map[string]any{"crash": fmt.Sprintf("%s change %d", when, change)}
			t.Run(crash["crash"].(string), func(t *testing.T) {
				t.Parallel()
				home := t.TempDir()
				done := change
				if when == "before" {
					done--
				}
				dying := open(t, launch(t).Plugin(), home, crash)
				crashes(t, n, change, func(i int) error {
					return dying.Create(t.Context(), resources(t, open(t, here, home, nil))[i], provider.Silent)
				})
				p := open(t, here, home, nil)
				if got := len(observe(t, p)); got != done {
					t.Errorf("%d things exist after %d changes", got, done)
				}
				for _, r := range resources(t, p) {
					if err := p.Create(t.Context(), r, provider.Silent); err != nil {
						t.Fatal(err)
					}
				}
				found, err := p.Observe(t.Context(), providertest.Lab())
				if err != nil || len(found) != n {
					t.Fatalf("completed: %d of %d things, %v", len(found), n, err)
				}
				dying = open(t, launch(t).Plugin(), home, crash)
				crashes(t, n, change, func(i int) error { return dying.Delete(t.Context(), found[i], provider.Silent) })
				for _, o := range found {
					if err := p.Delete(t.Context(), o, provider.Silent); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := os.Stat(filepath.Join(home, "labs", "judge", "targets", "test")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("the folder is still there: %v", err)
				}
			})
		}
	}
}

// crashes makes n changes of which one is fatal.
func crashes(t *testing.T, n, fatal int, change func(int) error) {
	t.Helper()
	for i := range n {
		err := change(i)
		want := provider.Code("")
		if i+1 >= fatal {
			want = provider.Crashed
		}
		if provider.CodeOf(err) != want {
			t.Fatalf("change %d of %d: %v", i+1, n, err)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "dying as told") || !strings.Contains(err.Error(), "signal: killed") {
				t.Errorf("the error lacks the last words: %v", err)
			}
			return
		}
	}
}

// Two plugin processes change the same world at the same time, down to nothing and up again, and lose nothing.
func TestTwoProcesses(t *testing.T) {
	home := t.TempDir()
	both := []provider.Provider{open(t, launch(t).Plugin(), home, nil), open(t, launch(t).Plugin(), home, nil)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			name := fmt.Sprintf("n%d", i)
			r := provider.Resource{
				Addr: provider.Addr{Provider: "memory", Kind: "network", Name: name},
				Lab:  "judge", Attrs: provider.Attrs{"mtu": 1500.0},
			}
			o := provider.Observed{Addr: r.Addr, Lab: r.Lab, Attrs: r.Attrs}
			p := both[i%2]
			for range 20 {
				if err := p.Create(t.Context(), r, provider.Silent); err != nil {
					t.Error(err)
				}
				if !observe(t, p)[r.Addr.String()] {
					t.Errorf("%s was lost", r.Addr)
				}
				if err := p.Delete(t.Context(), o, provider.Silent); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if _, err := os.Stat(filepath.Join(home, "labs", "judge", "targets", "test")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestMeddledWorld(t *testing.T) {
	home := t.TempDir()
	p := open(t, memory.Plugin(), home, nil)
	for _, r := range resources(t, p) {
		if err := p.Create(t.Context(), r, provider.Silent); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(home, "labs", "judge", "targets", "test", "world.json")
	if err := os.WriteFile(file, []byte("{ this is"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := p.Observe(t.Context(), providertest.Lab())
	if provider.CodeOf(err) != provider.Corrupt || !strings.Contains(err.Error(), file) {
		t.Errorf("a world that cannot be read: %v", err)
	}
}

// The option kill takes labctl away as well; what it had made is there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "labctl-provider-memory")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "MEMORY_TEST_HOST="+dir)
	out, err := cmd.CombinedOutput()
	if err == nil || err.Error() != "signal: killed" {
		t.Fatalf("%v, %s", err, out)
	}
	got := observe(t, open(t, memory.Plugin(), dir, nil))
	if want := map[string]bool{"memory.image/base": true, "memory.network/office": true}; !cmp.Equal(want, got) {
		t.Errorf("after the second change exist %v", got)
	}
}

// host is a labctl that is killed after its second change. Its folder is both home and where the plugin is.
func host(dir string) int {
	ctx := context.Background()
	c, err := rpc.Launch(ctx, rpc.Launcher{Name: "memory", Dirs: []string{dir}})
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	defer c.Close()
	p, err := c.New(provider.Options{Home: dir, Target: "test", Values: map[string]any{"kill": "after change 2"}})
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	rs, err := p.Expand(providertest.Lab(), nil)
	if err != nil {
		fmt.Println("host:", err)
		return 1
	}
	for _, r := range rs {
		err = p.Create(ctx, r, provider.Silent)
	}
	fmt.Println("host: alive,", err)
	return 0
}
