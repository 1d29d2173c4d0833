package nspawn

import (
	"syscall"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestKilled ends machines the hard way, by labctl and by somebody else: nothing that ran in them goes on.
func TestKilled(t *testing.T) {
	need(t)
	l, images := judged()
	l.Networks, l.Machines = nil, l.Machines[:1]
	l.Machines[0].NICs, l.Machines[0].Router = nil, false
	o := provider.Options{Home: t.TempDir(), Target: "test"}
	tiny.Stock(t, o.Home, images[0], system(t), nil)
	p, err := Plugin().New(o)
	if err != nil {
		t.Fatal(err)
	}
	want, err := p.Expand(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	quiet := func(provider.Step) {}
	// up makes what is missing and returns the machine's process and how it is observed.
	up := func() (int, []provider.Observed) {
		for _, k := range Plugin().Description.Kinds {
			for _, r := range want {
				if r.Addr.Kind != k.Name || k.Name == kindGuest {
					continue
				}
				r.Lab = l.Name
				if err := p.Create(t.Context(), r, quiet); err != nil {
					t.Fatalf("%s: %v", r.Addr, err)
				}
			}
		}
		have, err := p.Observe(t.Context(), l)
		if err != nil {
			t.Fatal(err)
		}
		s := p.(*nspawn)
		r, ok := s.running(s.dirs(l.Name), l.Machines[0].Name)
		if !ok {
			t.Fatal("the machine does not run")
		}
		boot(t, p, l, l.Machines[0].Name) // its own program runs
		return r.pid, have
	}
	down := func(how string, inside []int) {
		t.Helper()
		ended := func() bool {
			for _, pid := range inside {
				if stat(pid) != nil {
					return false
				}
			}
			return true
		}
		if len(inside) < 2 || !within(t.Context(), 30*time.Second, ended) {
			t.Errorf("%s: of the processes %v some run on", how, inside)
		}
	}
	pid, _ := up()
	inside := below(pid)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	down("killed by somebody", inside)
	pid, have := up()
	inside = below(pid)
	for i := len(have) - 1; i >= 0; i-- {
		for _, k := range []string{kindMachine, kindDisk} {
			if have[i].Addr.Kind == k {
				if err := p.Delete(t.Context(), have[i], quiet); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	down("deleted", inside)
}

// below are a process and all that it has started, and these.
func below(pid int) []int {
	all := []int{pid}
	for _, c := range children(pid) {
		all = append(all, below(c)...)
	}
	return all
}
