package qemu

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// world is a provider with a home of its own. What a test leaves running is ended.
type world struct {
	*testing.T
	q *qemu
}

func newWorld(t *testing.T, values map[string]any) world {
	t.Helper()
	tiny.Need(t, "qemu-system-x86_64", "qemu-img")
	all := map[string]any{"accel": "tcg", "stop": "1s"}
	for k, v := range values {
		all[k] = v
	}
	q, err := open(provider.Options{Home: t.TempDir(), Target: "local", Values: all})
	if err != nil {
		t.Fatal(err)
	}
	w := world{t, q}
	t.Cleanup(func() {
		w.apply(lab.Lab{Name: "test", Target: "local"})
	})
	return w
}

// observe returns what exists, by address.
func (w world) observe(l lab.Lab) map[string]provider.Observed {
	w.Helper()
	all, err := w.q.Observe(w.Context(), l)
	if err != nil {
		w.Fatal(err)
	}
	by := map[string]provider.Observed{}
	for _, o := range all {
		by[o.Addr.String()] = o
	}
	return by
}

// apply does what the engine does, one thing after the other, and returns what it did.
func (w world) apply(l lab.Lab) []string {
	w.Helper()
	ctx := w.Context()
	if ctx.Err() != nil {
		ctx = cleanupContext()
	}
	seeds := map[string]lab.Seed{}
	for _, m := range l.Machines {
		seeds[m.Name] = lab.Seed{Machine: m.Name, UserData: []byte("#cloud-config\n"), MetaData: []byte("instance-id: x\n"), NetworkConfig: []byte("version: 2\n"), Digest: "sha256:1"}
	}
	desired, err := w.q.Expand(l, seeds)
	if err != nil {
		w.Fatal(err)
	}
	found, err := w.q.Observe(ctx, l)
	if err != nil {
		w.Fatal(err)
	}
	want, have := map[provider.Addr]provider.Resource{}, map[provider.Addr]provider.Observed{}
	for _, r := range desired {
		if err := Description().Check(r); err != nil {
			w.Fatal(err)
		}
		want[r.Addr] = r
	}
	for _, o := range found {
		have[o.Addr] = o
	}
	var did []string
	note := func(what string, a provider.Addr, err error) {
		w.Helper()
		if err != nil {
			w.Fatalf("%s: %v", what, err)
		}
		did = append(did, what+" "+a.Kind+"/"+a.Name)
	}
	kinds := Description().Kinds
	for i := len(kinds) - 1; i >= 0; i-- {
		for _, o := range found {
			if _, ok := want[o.Addr]; !ok && o.Addr.Kind == kinds[i].Name && !o.Shared && kinds[i].Name != kindDisk {
				note("delete", o.Addr, w.q.Delete(ctx, o, provider.Silent))
			}
		}
	}
	for _, k := range kinds {
		for _, r := range desired {
			if r.Addr.Kind != k.Name {
				continue
			}
			if k.Seeded {
				s := seeds[r.Machine]
				r.Seed = &s
			}
			o, ok := have[r.Addr]
			if !ok {
				note("create", r.Addr, w.q.Create(ctx, r, provider.Silent))
			} else if !cmp.Equal(o.Attrs, r.Attrs) {
				note("update", r.Addr, w.q.Update(ctx, o, r, provider.Silent))
			}
		}
	}
	for _, o := range found { // disks last: machines must have let go of them
		if _, ok := want[o.Addr]; !ok && o.Addr.Kind == kindDisk {
			note("delete", o.Addr, w.q.Delete(ctx, o, provider.Silent))
		}
	}
	return did
}

// settled fails unless a second look finds nothing to do: the law of providers.
func (w world) settled(l lab.Lab) {
	w.Helper()
	if did := w.apply(l); len(did) > 0 {
		w.Fatalf("applied, and applied again: %v", did)
	}
}

// idle is a lab of machines that do nothing.
func (w world) idle(n int) lab.Lab { return tiny.Idle(w, w.q.home, n) }

// linux is a lab of one machine that runs Debian's kernel with one small program.
func (w world) linux() lab.Lab { return tiny.Linux(w, w.q.home) }

// sees waits until the guest's console has said words, after what it had said before.
func (w world) sees(machine string, after int, words string) {
	w.Helper()
	path := w.q.dirs("test").console(machine)
	for deadline := time.Now().Add(90 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && len(b) >= after && strings.Contains(string(b[after:]), words) {
			return
		}
	}
	b, _ := os.ReadFile(path)
	w.Fatalf("machine %s never said %q; its console ends with %s", machine, words, lastLines(string(b), 10))
}

// said is how much the guest's console has said.
func (w world) said(machine string) int {
	st, err := os.Stat(w.q.dirs("test").console(machine))
	if err != nil {
		return 0
	}
	return int(st.Size())
}
