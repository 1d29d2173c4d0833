package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
)

// open is an engine on a memory provider whose world is a folder of its own.
func open(t testing.TB, home string) engine.Engine {
	t.Helper()
	p, err := memory.Plugin().New(provider.Options{Home: home, Target: "local"})
	if err != nil {
		t.Fatal(err)
	}
	return engine.Engine{Description: memory.Plugin().Description, Provider: p}
}

// labOf is a lab of n machines on two networks, and the seeds of its machines.
func labOf(n int) lab.Lab {
	l := lab.Lab{Name: "quick", Domain: "quick.lab", Target: "local",
		Images: []lab.Image{{Name: "deb", Arch: lab.AMD64, URL: "https://example.org/deb", Digest: "sha256:11", MinDisk: lab.GiB}},
		Networks: []lab.Network{
			{Name: "office", CIDR: netip.MustParsePrefix("10.0.0.0/16"), MTU: 1500},
			{Name: "wan", CIDR: netip.MustParsePrefix("10.1.0.0/16"), Uplink: true, MTU: 1500}}}
	for i := range n {
		l.Machines = append(l.Machines, lab.Machine{Name: fmt.Sprintf("m%04d", i), CPUs: 1, Memory: 512 * lab.MiB, Arch: lab.AMD64, Firmware: lab.BIOS,
			Image: "deb", Disks: []lab.Disk{{Name: "root", Size: 10 * lab.GiB}}, NICs: []lab.NIC{{Network: "office", Link: lab.Up}, {Network: "wan", Link: lab.Up}},
			Power: lab.On, Guest: lab.Guest{User: "lab"}, Ready: lab.Duration(time.Minute)})
	}
	return lab.Complete(l)
}

func seeds(l lab.Lab) map[string]lab.Seed {
	all := map[string]lab.Seed{}
	for _, m := range l.Machines {
		b, _ := json.Marshal(m.Guest)
		all[m.Name] = lab.Seed{Machine: m.Name, Digest: "sha256:" + fmt.Sprintf("%x", len(b)) + m.Name}
	}
	return all
}

func planOptions(l lab.Lab) engine.PlanOptions { return engine.PlanOptions{Seeds: seeds(l)} }

func applyOptions(l lab.Lab, po engine.PlanOptions) engine.ApplyOptions {
	return engine.ApplyOptions{Options: apply.Options{Parallel: 4, Backoff: time.Millisecond}, Again: po,
		Seed: func(m string) (lab.Seed, error) { return seeds(l)[m], nil }}
}

// converge plans and applies l, and checks that nothing is left to do.
func converge(t *testing.T, e engine.Engine, l lab.Lab, po engine.PlanOptions) plan.Plan {
	t.Helper()
	ctx := context.Background()
	p, err := e.Plan(ctx, l, po)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(ctx, l, p, applyOptions(l, po))
	if err != nil || r.Err() != nil || len(r.Unsettled) > 0 {
		t.Fatal(err, r.Err(), r.Unsettled)
	}
	return p
}

func tell(p plan.Plan) []string {
	var all []string
	for _, c := range p.Changes {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s %s/%s %s", c.Action, c.Addr.Kind, c.Addr.Name, c.Impact)))
	}
	return all
}

// TestRoad goes down the whole road and back.
func TestRoad(t *testing.T) {
	e, l := open(t, t.TempDir()), labOf(2)
	for _, step := range []struct {
		name    string
		change  func(*lab.Lab)
		options engine.PlanOptions
		want    []string
	}{
		{"from nothing", func(*lab.Lab) {}, engine.PlanOptions{}, []string{
			"create image/deb", "create network/office", "create network/wan", "create disk/m0000/root", "create disk/m0001/root",
			"create machine/m0000", "create machine/m0001", "create guest/m0000", "create guest/m0001"}},
		{"nothing to do", func(*lab.Lab) {}, engine.PlanOptions{}, nil},
		{"more memory", func(l *lab.Lab) { l.Machines[0].Memory = lab.GiB }, engine.PlanOptions{}, []string{"update machine/m0000 reboot"}},
		{"another disk joins", func(l *lab.Lab) {
			l.Machines[0].Disks = append(l.Machines[0].Disks, lab.Disk{Name: "data", Size: lab.GiB})
		}, engine.PlanOptions{}, []string{"create disk/m0000/data", "update machine/m0000 live"}},
		{"a file", func(l *lab.Lab) { l.Machines[1].Guest.Files = []lab.File{{Path: "/x"}} }, engine.PlanOptions{}, []string{"update guest/m0001 reconfigure"}},
		{"off, with a change inside", func(l *lab.Lab) {
			l.Machines[1].Power, l.Machines[1].Guest.Files = lab.Off, nil
		}, engine.PlanOptions{}, []string{"update machine/m0001 reboot"}},
		{"on again", func(l *lab.Lab) { l.Machines[1].Power = lab.On }, engine.PlanOptions{}, []string{"update machine/m0001 reboot", "update guest/m0001 reconfigure"}},
		{"another image", func(l *lab.Lab) { l.Images[0].Digest = "sha256:22" }, engine.PlanOptions{Allow: []string{"m0000", "m0001"}}, []string{
			"update image/deb live", "replace disk/m0000/root reinstall", "replace disk/m0001/root reinstall",
			"replace machine/m0000 reinstall", "replace machine/m0001 reinstall", "replace guest/m0000 reinstall", "replace guest/m0001 reinstall"}},
		{"a machine is reinstalled", func(*lab.Lab) {}, engine.PlanOptions{Reinstall: []string{"m0000"}}, []string{
			"replace disk/m0000/root reinstall", "replace machine/m0000 reinstall", "replace guest/m0000 reinstall"}},
		{"a machine goes", func(l *lab.Lab) { l.Machines = l.Machines[:1] }, engine.PlanOptions{}, []string{
			"delete disk/m0001/root", "delete machine/m0001", "delete guest/m0001"}},
		{"destroy", func(*lab.Lab) {}, engine.PlanOptions{Destroy: true}, []string{
			"delete network/office", "delete network/wan", "delete disk/m0000/data", "delete disk/m0000/root", "delete machine/m0000", "delete guest/m0000"}},
		{"destroy again", func(*lab.Lab) {}, engine.PlanOptions{Destroy: true}, nil},
	} {
		step.change(&l)
		step.options.Seeds = seeds(l)
		p := converge(t, e, l, step.options)
		if diff := cmp.Diff(step.want, tell(p)); diff != "" {
			t.Fatalf("%s: -want +got:\n%s", step.name, diff)
		}
	}
}

// mortal is a provider that dies: from its k-th change on, every call fails; so labctl's own death looks to the world.
// With late set, the k-th change is still made.
type mortal struct {
	provider.Provider
	left *int
	late bool
}

var errDead = errors.New("dead")

func (m mortal) do(change func() error) error {
	*m.left--
	if *m.left < 0 && !(m.late && *m.left == -1) {
		return errDead
	}
	if err := change(); err != nil {
		return err
	}
	if *m.left < 0 {
		return errDead
	}
	return nil
}

func (m mortal) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	return m.do(func() error { return m.Provider.Create(ctx, r, p) })
}

func (m mortal) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	return m.do(func() error { return m.Provider.Update(ctx, o, r, p) })
}

func (m mortal) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	return m.do(func() error { return m.Provider.Delete(ctx, o, p) })
}

// TestCrashWalk kills the provider before and after every single change of a creation, a reinstall with much else, and
// a destruction; a new engine then always reaches the end.
func TestCrashWalk(t *testing.T) {
	from, to := labOf(3), labOf(2)
	to.Images[0].Digest = "sha256:22"
	to.Machines[0].Memory = lab.GiB
	to.Machines[1].Disks = append(to.Machines[1].Disks, lab.Disk{Name: "data", Size: lab.GiB})
	to.Networks = to.Networks[:1]
	for i := range to.Machines {
		to.Machines[i].NICs = to.Machines[i].NICs[:1]
	}
	for _, c := range []struct {
		name     string
		from, to lab.Lab
		destroy  bool
	}{{"create", lab.Lab{}, from, false}, {"change", from, to, false}, {"destroy", to, to, true}} {
		for k := 0; ; k++ {
			if walk(t, c.name, c.from, c.to, c.destroy, k) {
				t.Logf("%s: died at each of %d points", c.name, k)
				break
			}
		}
	}
}

// walk dies at the k-th point, before (even) or after (odd) a change, and says whether the run was over before that.
func walk(t *testing.T, name string, from, to lab.Lab, destroy bool, k int) bool {
	t.Helper()
	home, ctx := t.TempDir(), context.Background()
	e := open(t, home)
	if from.Name != "" {
		converge(t, e, from, planOptions(from))
	}
	po := planOptions(to)
	po.Destroy, po.Allow = destroy, []string{"m0000", "m0001"}
	p, err := e.Plan(ctx, to, po)
	if err != nil {
		t.Fatal(err)
	}
	left := k / 2
	dying := e
	dying.Provider = mortal{e.Provider, &left, k%2 == 1}
	o := applyOptions(to, po)
	o.Parallel = 1
	r, err := dying.Apply(ctx, to, p, o)
	if err != nil {
		t.Fatal(err)
	}
	over := r.Err() == nil
	converge(t, open(t, home), to, po)
	if p := converge(t, open(t, home), to, po); !p.Empty() {
		t.Fatalf("%s, died at %d: still to do: %v", name, k, tell(p))
	}
	return over
}

func TestNames(t *testing.T) {
	e, l := open(t, t.TempDir()), labOf(1)
	for _, c := range []struct {
		o  engine.PlanOptions
		ok bool
	}{
		{engine.PlanOptions{Only: []string{"m0000", "office", "machine/m0000", "memory.disk/m0000/root"}}, true},
		{engine.PlanOptions{Only: []string{"m000"}}, false},
		{engine.PlanOptions{Allow: []string{"wbe"}}, true}, // nothing is refused: what it allowed may be gone
		{engine.PlanOptions{Only: []string{"m0000"}, Destroy: true}, true},
		{engine.PlanOptions{Only: []string{"disk/m0000/root"}, Destroy: true}, true},
		{engine.PlanOptions{Only: []string{"wbe"}, Destroy: true}, false},
	} {
		c.o.Seeds = seeds(l)
		_, err := e.Plan(context.Background(), l, c.o)
		if (err == nil) != c.ok || err != nil && provider.CodeOf(err) != provider.Invalid {
			t.Errorf("only %v, allow %v, destroy %v: error %v", c.o.Only, c.o.Allow, c.o.Destroy, err)
		}
	}
}

func TestRefused(t *testing.T) {
	e, l := open(t, t.TempDir()), labOf(1)
	converge(t, e, l, planOptions(l))
	l.Images[0].Digest = "sha256:22"
	p, err := e.Plan(context.Background(), l, planOptions(l))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Apply(context.Background(), l, p, applyOptions(l, planOptions(l)))
	var refused *engine.RefusedError
	if !errors.As(err, &refused) || err.Error() != "refused: memory.disk/m0000/root would be lost: reinstall" {
		t.Errorf("error %v", err)
	}
	if now, _ := e.Plan(context.Background(), l, planOptions(l)); now.World != p.World {
		t.Error("a refused plan changed the world")
	}
}

// blind is a provider that cannot observe.
type blind struct {
	provider.Provider
	err error
}

func (b blind) Observe(context.Context, lab.Lab) ([]provider.Observed, error) { return nil, b.err }

func TestErrors(t *testing.T) {
	l := labOf(1)
	for _, c := range []struct {
		err  error
		want string
		code provider.Code
	}{
		{&provider.Error{Op: "observe", Code: provider.Denied, Text: "no"}, "cannot observe lab quick: no", provider.Denied},
		{&provider.Error{Op: "observe", Addr: provider.Addr{Provider: "qemu", Kind: "disk", Name: "x"}, Code: provider.Corrupt, Text: "no"}, "cannot observe qemu.disk/x: no", provider.Corrupt},
		{errors.New("no"), "cannot observe lab quick: no", provider.Internal},
		{context.DeadlineExceeded, "cannot observe lab quick: context deadline exceeded", provider.Timeout},
	} {
		e := open(t, t.TempDir())
		e.Provider = blind{e.Provider, c.err}
		_, err := e.Plan(context.Background(), l, planOptions(l))
		if err == nil || err.Error() != c.want || provider.CodeOf(err) != c.code {
			t.Errorf("%v (%s), want %s (%s)", err, provider.CodeOf(err), c.want, c.code)
		}
	}
}

// inside is a double of the machines' insides that notes what is asked of it.
type inside struct {
	asked []string
	err   error
}

func (g *inside) Wait(ctx context.Context, m lab.Machine, _ provider.Progress) error {
	if _, limited := ctx.Deadline(); !limited {
		return errors.New("no deadline")
	}
	g.asked = append(g.asked, "wait "+m.Name)
	return g.err
}

func (g *inside) Converge(ctx context.Context, m lab.Machine, s lab.Seed, _ provider.Progress) error {
	if s.Machine != m.Name {
		return errors.New("the seed of another machine")
	}
	g.asked = append(g.asked, "converge "+m.Name)
	return g.err
}

func (g *inside) Answers(context.Context, lab.Machine) bool { return false }

func (g *inside) Check(context.Context, lab.Machine, lab.Seed) ([]guest.Difference, error) {
	return nil, nil
}

// TestGuests checks when the engine talks to machines, and that a digest is only recorded once it is true inside.
func TestGuests(t *testing.T) {
	g := &inside{err: errors.New("cloud-init failed")}
	e, l := open(t, t.TempDir()), labOf(1)
	e.Guests = g
	ctx, po := context.Background(), planOptions(l)
	p, err := e.Plan(ctx, l, po)
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(ctx, l, p, applyOptions(l, po))
	if err != nil || r.Err() == nil || r.Err().Error() != "cannot create memory.guest/m0000: cloud-init failed" {
		t.Fatal(err, r.Err())
	}
	if p, _ := e.Plan(ctx, l, po); cmp.Diff([]string{"create guest/m0000"}, tell(p)) != "" {
		t.Errorf("after a guest that failed: %v", tell(p))
	}
	g.err = nil
	converge(t, e, l, po)
	l.Machines[0].Memory = lab.GiB
	l.Machines[0].Guest.Packages = []string{"nginx"}
	converge(t, e, l, planOptions(l))
	halfway(t, e, l, g)
	l.Machines[0].Power = lab.Off
	l.Machines[0].Guest.Packages = nil
	converge(t, e, l, planOptions(l))
	if diff := cmp.Diff([]string{"converge m0000", "converge m0000", "wait m0000", "converge m0000", "converge m0000", "converge m0000"}, g.asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// halfway has the change of a machine's inside fail: then the file of before is not as the machine is, either.
func halfway(t *testing.T, e engine.Engine, l lab.Lab, g *inside) {
	t.Helper()
	newer := l
	newer.Machines = slices.Clone(l.Machines)
	newer.Machines[0].Guest.Packages = []string{"nginx", "no-such-package"}
	p, err := e.Plan(t.Context(), newer, planOptions(newer))
	if err != nil {
		t.Fatal(err)
	}
	g.err = errors.New("there is no such package")
	if r, err := e.Apply(t.Context(), newer, p, applyOptions(newer, planOptions(newer))); err != nil || r.Err() == nil {
		t.Fatal(err, r.Err())
	}
	g.err = nil
	if p, _ := e.Plan(t.Context(), l, planOptions(l)); cmp.Diff([]string{"update guest/m0000 reconfigure"}, tell(p)) != "" {
		t.Errorf("the file of before, after a change that failed: %v", tell(p))
	}
	converge(t, e, l, planOptions(l))
}

// TestNoSeed gives Apply no way to get seeds: that is an error, not a crash.
func TestNoSeed(t *testing.T) {
	e, l := open(t, t.TempDir()), labOf(1)
	p, err := e.Plan(context.Background(), l, planOptions(l))
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(context.Background(), l, p, engine.ApplyOptions{Options: apply.Options{Parallel: 2}})
	if err != nil || r.Err() == nil {
		t.Fatal(err, r.Err())
	}
}

// cpu is the processor time that this process has used: unlike elapsed time it tells the same on a busy machine.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func perMachine(b *testing.B, began time.Duration, n int) {
	b.ReportMetric(float64((cpu()-began).Microseconds())/float64(b.N)/float64(n), "cpu-µs/machine")
}

// BenchmarkPlan is a no-change plan on a world held in memory, per machine, to see that it is linear.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := labOf(n)
			e, po := open(b, b.TempDir()), planOptions(l)
			e.Provider = still{e.Provider, made(b, e, l, po)}
			began := cpu()
			b.ResetTimer()
			for range b.N {
				p, err := e.Plan(context.Background(), l, po)
				if err != nil || !p.Empty() {
					b.Fatal(err, len(p.Changes))
				}
			}
			perMachine(b, began, n)
		})
	}
}

// BenchmarkPlanDestroy is a plan in which everything changes.
func BenchmarkPlanDestroy(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := labOf(n)
			e, po := open(b, b.TempDir()), planOptions(l)
			e.Provider = still{e.Provider, made(b, e, l, po)}
			po.Destroy, po.Only = true, []string{"office", "wan"}
			began := cpu()
			b.ResetTimer()
			for range b.N {
				if p, err := e.Plan(context.Background(), l, po); err != nil || p.Empty() {
					b.Fatal(err)
				}
			}
			perMachine(b, began, n)
		})
	}
}

// BenchmarkApply executes a creation on a worker that does nothing, to see that the order costs little.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := labOf(n)
			e, po := open(b, b.TempDir()), planOptions(l)
			p, err := e.Plan(context.Background(), l, po)
			if err != nil {
				b.Fatal(err)
			}
			e.Provider = still{e.Provider, nil}
			began := cpu()
			b.ResetTimer()
			for range b.N {
				o := applyOptions(l, po)
				o.Seed = func(m string) (lab.Seed, error) { return po.Seeds[m], nil }
				if r, err := e.Apply(context.Background(), l, p, o); err != nil || r.Err() != nil {
					b.Fatal(err, r.Err())
				}
			}
			perMachine(b, began, n)
		})
	}
}

// still is a provider that sees the same for ever and does nothing.
type still struct {
	provider.Provider
	seen []provider.Observed
}

func (s still) Observe(context.Context, lab.Lab) ([]provider.Observed, error) {
	return append([]provider.Observed(nil), s.seen...), nil
}

func (s still) Create(context.Context, provider.Resource, provider.Progress) error { return nil }

// made is the world as it is when l has been applied.
func made(b *testing.B, e engine.Engine, l lab.Lab, po engine.PlanOptions) []provider.Observed {
	b.Helper()
	rs, err := e.Provider.Expand(l, po.Seeds)
	if err != nil {
		b.Fatal(err)
	}
	var os []provider.Observed
	for _, r := range rs {
		os = append(os, provider.Observed{Addr: r.Addr, Attrs: r.Attrs, Needs: r.Needs, Machine: r.Machine, Shared: r.Addr.Kind == "image"})
	}
	return os
}
