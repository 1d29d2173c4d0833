package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/inside"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/replay"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// testFlags say what is asked of a running lab.
type testFlags struct {
	from, to, junit    string
	noReplay, noChecks bool
	jobs               int
	timeout            time.Duration
}

func (c *cli) testCommand() *cobra.Command {
	var f labFlags
	var tf testFlags
	cmd := &cobra.Command{
		Use:   "test [LAB]",
		Short: "Ask the running lab what was proven, and its checks",
		Long: `Run the lab's checks, then replay the proof: from inside every machine, open what the policy allows and what it denies,
over both families, and compare that with what was proven. Machines listen for the moment on ports that nothing else
holds; nothing stays behind. Where the lab does something else, the rules on the way are named whose counters moved.

Exit code: 0 the lab does what it should, 1 it does not, or could not be asked.`,
		Args:        between(0, 1),
		Annotations: more(markdown, junit),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tf.check(cmd); err != nil {
				return err
			}
			if err := f.one(args); err != nil {
				return err
			}
			return c.test(cmd.Context(), f, tf)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&tf.from, "from", "", "only what this `machine` asks")
	fl.StringVar(&tf.to, "to", "", "only what this `machine` is asked")
	completeMachineFlags(cmd, "from", "to")
	fl.StringVar(&tf.junit, "junit", "", "also write the result as JUnit XML to this `file`")
	fl.BoolVar(&tf.noReplay, "no-replay", false, "do not replay the proof")
	fl.BoolVar(&tf.noChecks, "no-checks", false, "do not run the declared checks")
	fl.IntVar(&tf.jobs, "jobs", askers(), "machines that ask at once; by default two for each processor, 4 to 20")
	fl.DurationVar(&tf.timeout, "timeout", testTime, "how long all of it may take")
	return cmd
}

// testTime is how long a test may take by default.
const testTime = 30 * time.Minute

// askers is how many machines ask at once by default: what they do is mostly waiting.
func askers() int { return min(max(2*runtime.NumCPU(), 4), 20) }

func (f *testFlags) check(cmd *cobra.Command) error {
	switch {
	case f.jobs < 1:
		return usage(cmd, "--jobs %d: at least 1", f.jobs)
	case f.timeout <= 0:
		return usage(cmd, "--timeout %s: more than nothing", f.timeout)
	case f.noReplay && f.noChecks:
		return usage(cmd, "--no-replay and --no-checks together leave nothing to ask")
	case f.from != "" && f.from == f.to:
		return usage(cmd, "--from and --to %s: a machine is not asked by itself", f.from)
	}
	return nil
}

func (c *cli) test(ctx context.Context, f labFlags, tf testFlags) error {
	r, err := c.openProven(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	for _, name := range []string{tf.from, tf.to} {
		if _, err := r.machine(name); err != nil && name != "" {
			return err
		}
	}
	var file *os.File
	if tf.junit != "" { // before anything is asked
		if file, err = os.Create(tf.junit); err != nil {
			return fmt.Errorf("cannot write the result: %w", err)
		}
		defer file.Close()
	}
	t, err := r.tester(tf, live.Scope{From: tf.from, To: tf.to})
	if err != nil {
		return err
	}
	result, err := t.run(ctx)
	if err != nil {
		return err
	}
	if file != nil {
		if err := errors.Join(view.JUnit(file, result), file.Close()); err != nil {
			return fmt.Errorf("cannot write %s: %w", tf.junit, err)
		}
	}
	err = r.showAs(result, func(w io.Writer, o view.Options) error { return view.Test(w, result, o) }, writers{
		markdown: func(w io.Writer) error { return view.TestedMarkdown(w, result) },
		junit:    func(w io.Writer) error { return view.JUnit(w, result) },
	})
	if err != nil {
		return err
	}
	if !result.OK {
		return fmt.Errorf("lab %s does not do what it should: %s", r.lab.Name, result.Wrong())
	}
	return nil
}

// tester asks a running lab.
type tester struct {
	*road
	flags  testFlags
	proof  *reach.Proof
	set    live.Set
	checks []lab.Check
	why    string // told before anything is asked; "" where the user knows
	tell   func(replay.Event)
	mu     sync.Mutex // for what follows
	shells map[string]*inside.Shell
}

// tester works out what there is to ask; nothing is asked yet.
func (r *road) tester(tf testFlags, scope live.Scope) (*tester, error) {
	t := &tester{road: r, flags: tf, shells: map[string]*inside.Shell{}, tell: func(replay.Event) {}}
	if !tf.noChecks {
		t.checks = live.Checks(r.lab, scope)
	}
	if r.guests.Dialer == nil { // external machines may still be asked
		ours := func(c lab.Check) bool { m, _ := r.lab.Machine(c.From); return m.Ours() }
		if t.checks = slices.DeleteFunc(t.checks, ours); len(t.checks) == 0 {
			return nil, r.cannot(provider.Dials)
		}
		return t, nil
	}
	if tf.noReplay {
		return t, nil
	}
	filter, err := hostFilter(r.engine.Description, r.engine.Provider, r.lab)
	if err != nil {
		return nil, err
	}
	here, proof, err := proveThere(r.lab, filter)
	if err != nil {
		return nil, err
	}
	t.proof = proof
	t.set, err = live.Questions(here, t.proof, scope)
	return t, err
}

// empty says that there is nothing to ask.
func (t *tester) empty() bool { return len(t.set.Questions)+len(t.checks) == 0 }

// run asks. What could not be asked is in the result.
func (t *tester) run(ctx context.Context) (view.TestResult, error) {
	out := view.TestResult{Lab: t.lab.Name, Target: t.lab.Target, OK: true}
	if t.empty() {
		return out, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, t.flags.timeout, fmt.Errorf("the test is not done after %s (--timeout)", t.flags.timeout))
	defer cancel()
	away, err := t.away(ctx)
	if err != nil {
		return out, err
	}
	defer t.leave()
	defer t.show(ctx)()
	// The checks first: a listener of the replay could be taken for the service that they ask for.
	o := replay.Options{Lab: t.lab, Proof: t.proof, Set: t.set, Away: away, Jobs: t.flags.jobs, Tell: t.tell,
		Shell: func(m string) guest.Shell { return t.shell(m) }}
	for _, c := range replay.Checks(ctx, o, t.checks) {
		x := view.CheckResult{Check: c.Check, OK: c.OK, Got: c.Got, Tries: c.Tries}
		if c.Err != nil {
			x.Error = c.Err.Error()
		}
		out.Checks = append(out.Checks, x)
	}
	if len(t.set.Questions) > 0 {
		result, err := replay.Run(ctx, o)
		if err != nil {
			return out, fmt.Errorf("cannot replay the proof in lab %s: %w", t.lab.Name, context.Cause(ctx))
		}
		out.Replay = view.Replayed(t.set, result.Verdicts)
		away = result.Away
	}
	for m, why := range away {
		out.Away = append(out.Away, view.AwayMachine{Name: m, Why: why})
	}
	sort.Slice(out.Away, func(i, j int) bool { return out.Away[i].Name < out.Away[j].Name })
	out.OK = out.Wrong() == ""
	return out, ctx.Err()
}

// away are the machines that should be on and are not, and why.
func (t *tester) away(ctx context.Context) (map[string]string, error) {
	state, err := t.powers(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, m := range t.lab.Machines {
		switch {
		case m.Power == lab.Off || m.External.IsValid() || !t.concerns(m.Name):
		case state[m.Name] == "":
			out[m.Name] = m.Name + " does not exist"
		case state[m.Name] != lab.On:
			out[m.Name] = m.Name + " is " + string(state[m.Name])
		}
	}
	return out, nil
}

// concerns says whether a machine has a part in what is asked.
func (t *tester) concerns(machine string) bool {
	for _, q := range t.set.Questions {
		if machine == q.From || machine == q.To || machine == q.By {
			return true
		}
	}
	return slices.ContainsFunc(t.checks, func(c lab.Check) bool { return slices.Contains(c.Machines(t.lab), machine) })
}

// shell is the one way into a machine.
func (t *tester) shell(machine string) *inside.Shell {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shells[machine] == nil {
		m, _ := t.lab.Machine(machine)
		t.shells[machine] = t.guests.Shell(m, func(s provider.Step) { t.tell(replay.Event{Machine: machine, Phase: s.Phase, Way: true}) })
	}
	return t.shells[machine]
}

// leave ends all connections.
func (t *tester) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.shells {
		s.Close()
	}
}

// show lets progress be seen until the function that it returns is called.
func (t *tester) show(ctx context.Context) (done func()) {
	if t.quiet {
		return func() {}
	}
	po := t.progressOptions()
	progress := view.NewProgress(t.err, po)
	if t.why != "" {
		progress.Note(t.why)
	}
	quiet := t.signals.speak(func(text string) { progress.Note("labctl: " + text) })
	kind := "machine"
	for _, k := range t.engine.Description.Kinds {
		if k.Machine {
			kind = k.Name
		}
	}
	var mu sync.Mutex
	busy := map[string]int{} // how many things each machine does
	t.tell = func(e replay.Event) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil && !e.End || e.Way && !po.Terminal {
			return
		}
		x := apply.Event{Addr: provider.Addr{Provider: t.engine.Description.Name, Kind: kind, Name: e.Machine}, Machine: e.Machine, Action: view.Ask}
		switch {
		case e.End:
			busy[e.Machine] = 0
			x.State = apply.Done
			if e.Err != nil {
				x.State, x.Error = apply.Failed, e.Err.Error()
			}
		case busy[e.Machine] == 0:
			busy[e.Machine] = 1
			x.State = apply.Started
			progress.Event(x)
			fallthrough
		default:
			x.State, x.Step = apply.Running, &provider.Step{Phase: e.Phase}
		}
		progress.Event(x)
	}
	return func() {
		quiet()
		progress.Close()
	}
}
