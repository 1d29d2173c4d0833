package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/adoption"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// adoptFlags say what is adopted, and where that is written.
type adoptFlags struct {
	networks, domains []string
	write             string
	yes               bool
}

func (c *cli) adoptCommand() *cobra.Command {
	var f labFlags
	var af adoptFlags
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "adopt [LAB]",
		Short: "Take networks and machines that others made into the lab, as they are",
		Long: `Without flags: list the networks and machines (domains) on the target's host that are nobody's.
With --network and --domain: print the CUE that takes them into the lab, or write it with --write, and mark them as the
lab's, after a question or with --yes. They stay what they are: labctl manages an adopted machine from the outside only
(power, processors, memory, protection, the links of its interfaces; never its disks nor its inside) and changes nothing
of an adopted network. The next plan is empty.

Adopted things are never deleted: destroy, or an apply after they were taken out of the lab, takes the mark away and
leaves them. Their names in the lab are made of those on the host; --domain 'HOSTNAME=NAME' says another one.
--write takes the lab's own file, to which the CUE is added, or for a lab that is a folder that folder (adopted.cue) or
a new file in it.`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			if len(af.networks)+len(af.domains) > 0 {
				return c.adopt(cmd.Context(), f, af, wait)
			}
			if af.write != "" || af.yes {
				return usage(cmd, "--write and --yes are about what --network and --domain name")
			}
			return c.adoptable(cmd.Context(), f)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringArrayVar(&af.networks, "network", nil, "adopt the network that the host knows by this `name`; repeatable")
	fl.StringArrayVar(&af.domains, "domain", nil, "adopt the machine that the host knows by this `name`; repeatable")
	for _, name := range []string{"network", "domain"} { // which there are only the host knows
		must(cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions))
	}
	fl.StringVar(&af.write, "write", "", "write the CUE to this `file` instead of printing it")
	fl.BoolVar(&af.yes, "yes", false, "do not ask")
	fl.DurationVar(&wait, "wait", 0, "how long to wait for another labctl that changes the lab; by default not at all")
	return cmd
}

// candidates are what is on the host of the lab's target and nobody's.
func (r *road) candidates(ctx context.Context) ([]provider.Candidate, error) {
	a, ok := r.engine.Provider.(provider.Adopter)
	if !ok || !r.engine.Description.Has(provider.Adopts) {
		return nil, r.cannot(provider.Adopts)
	}
	return a.Adoptable(ctx, r.lab.Within())
}

func (c *cli) adoptable(ctx context.Context, f labFlags) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	all, err := r.candidates(ctx)
	if err != nil {
		return err
	}
	if all == nil {
		all = []provider.Candidate{}
	}
	return c.show(all, func(w io.Writer, o view.Options) error { return view.Adoptable(w, all, o) })
}

// adopted is the result of adopt.
type adopted struct {
	CUE    string       `json:"cue"`
	File   string       `json:"file,omitempty"` // that it was written to
	Plan   plan.Plan    `json:"plan"`
	Report apply.Report `json:"report"`
	Next   plan.Plan    `json:"next"` // of what was adopted: empty, unless somebody else is at work on it
	// Learn are machines that labctl made, and whose inside the next apply tells of what was adopted: names and rules.
	Learn []string `json:"learn,omitempty"`
}

func (c *cli) adopt(ctx context.Context, f labFlags, af adoptFlags, wait time.Duration) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	l, err := r.lock(ctx, "adopt", wait)
	if err != nil {
		return err
	}
	defer l.Release()
	a, err := r.chooseAdoption(ctx, af)
	if err != nil {
		return err
	}
	result, file, err := r.takeIn(a, af.write)
	if err != nil {
		return err
	}
	// What is printed beside the CUE must not get into it.
	beside := c.out
	if file.path == "" {
		beside = c.err
	}
	p, err := r.planAdoption(ctx, a)
	if err != nil {
		return err
	}
	result.Plan = p
	if !c.json() {
		if file.path == "" || !af.yes {
			fmt.Fprintln(c.out, result.CUE)
		}
		if err := view.Plan(beside, p, screen(beside)); err != nil {
			return err
		}
	}
	if err := c.confirm(af.yes, "Mark them as lab "+r.lab.Name+"'s?"); err != nil {
		return err
	}
	if err := file.write(); err != nil {
		return err
	}
	return r.mark(ctx, beside, result, file)
}

// mark makes the plan of an adoption true, and looks what the next plan would be.
func (r *road) mark(ctx context.Context, w io.Writer, result adopted, file labFile) error {
	o, err := r.planOptions(ctx, planFlags{only: addresses(result.Plan)})
	if err != nil {
		return err
	}
	if result.Report, err = r.execute(ctx, result.Plan, o, runFlags{parallel: 1, timeout: 10 * time.Minute}); err != nil {
		return err
	}
	failed := verdict(result.Report)
	if result.Next, err = r.engine.Plan(ctx, r.lab, o); err != nil {
		return errors.Join(failed, err)
	}
	if result.Learn, err = r.learn(ctx); err != nil {
		return errors.Join(failed, err)
	}
	if r.json() {
		if err := view.JSON(r.out, result); err != nil {
			return err
		}
	} else if err := r.tellAdopted(w, result, file); err != nil {
		return err
	}
	if failed == nil && !result.Next.Empty() {
		return errors.New("all was marked, but the next plan would change some of it: see above")
	}
	return failed
}

// learn are the machines that exist and whose inside the next apply would change.
func (r *road) learn(ctx context.Context) ([]string, error) {
	p, _, err := r.plan(ctx, planFlags{})
	var out []string
	for _, c := range p.Changes {
		if k, _ := r.engine.Description.Kind(c.Addr.Kind); k.Guest && c.Action == plan.Update {
			out = append(out, c.Machine)
		}
	}
	return out, err
}

func (r *road) tellAdopted(w io.Writer, result adopted, file labFile) error {
	if err := view.Report(w, result.Report, screen(w)); err != nil {
		return err
	}
	if !result.Next.Empty() {
		if err := view.Plan(w, result.Next, screen(w)); err != nil {
			return err
		}
	}
	where := "Add the CUE above to the lab: without it the next apply releases them again."
	if file.path != "" {
		where = "Written: " + file.name
	}
	if _, err := fmt.Fprintln(w, where); err != nil || len(result.Learn) == 0 {
		return err
	}
	_, err := fmt.Fprintf(w, "The next apply tells the lab's own machines of them: %s.\n", strings.Join(result.Learn, ", "))
	return err
}

// chooseAdoption finds on the host what the flags name.
func (r *road) chooseAdoption(ctx context.Context, af adoptFlags) (adoption.Adoption, error) {
	there, err := r.candidates(ctx)
	if err != nil {
		return adoption.Adoption{}, err
	}
	is := func(network bool) func(string) bool {
		return func(host string) bool {
			return slices.ContainsFunc(there, func(c provider.Candidate) bool { return c.Host() == host && (c.Network != nil) == network })
		}
	}
	return adoption.Choose(r.lab, there, adoption.Wishes(af.networks, is(true)), adoption.Wishes(af.domains, is(false)))
}

// takeIn makes the lab one with what it adopts, by the CUE that says so, and checks that it still makes sense. Nothing is
// written yet.
func (r *road) takeIn(a adoption.Adoption, write string) (adopted, labFile, error) {
	file, err := r.placeFor(write)
	if err != nil {
		return adopted{}, file, err
	}
	instead := file
	if file.path == "" { // it is only printed, and looked at as if it were part of the lab
		instead = labFile{path: r.flags.path, add: true}
		if isFolder(r.flags.path) {
			instead = labFile{path: filepath.Join(r.flags.path, "labctl-adopt-printed.cue")}
		}
		if instead.path, err = filepath.Abs(instead.path); err != nil {
			return adopted{}, file, err
		}
	}
	pkg := r.spec.Package
	if instead.add {
		pkg = ""
	}
	text, err := schema.Adoption(pkg, a.Networks, a.Machines, a.Notes)
	if err != nil {
		return adopted{}, file, err
	}
	if err := instead.fill(text); err != nil {
		return adopted{}, file, err
	}
	file.text = instead.text
	spec, err := schema.Load(schema.Options{Args: []string{r.flags.path}, Tags: r.flags.tags, Target: r.flags.target, Instead: map[string][]byte{instead.path: instead.text}})
	if err != nil {
		return adopted{}, file, fmt.Errorf("the lab does not hold together with what it would adopt: %w", err)
	}
	found, _ := vetLab(spec)
	if err := r.warn(found); err != nil {
		return adopted{}, file, err
	}
	target := r.lab.Target
	r.spec, r.lab = spec, spec.Lab
	r.lab.Target = target
	return adopted{CUE: string(text), File: file.name}, file, nil
}

// planAdoption is the plan that marks what is adopted, and nothing else.
func (r *road) planAdoption(ctx context.Context, a adoption.Adoption) (plan.Plan, error) {
	o, err := r.planOptions(ctx, planFlags{})
	if err != nil {
		return plan.Plan{}, err
	}
	whole, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return whole, err
	}
	whole.Changes = slices.DeleteFunc(whole.Changes, func(c plan.Change) bool {
		_, network := r.lab.Network(c.Addr.Name)
		wanted := slices.ContainsFunc(a.Machines, func(m lab.Machine) bool { return m.Name == c.Machine }) ||
			c.Machine == "" && network && slices.ContainsFunc(a.Networks, func(n lab.Network) bool { return n.Name == c.Addr.Name })
		return c.Action != plan.Adopt || !wanted
	})
	if o, err = r.planOptions(ctx, planFlags{only: addresses(whole)}); err != nil || whole.Empty() {
		return whole, err
	}
	return r.engine.Plan(ctx, r.lab, o)
}

// addresses are those of a plan's changes.
func addresses(p plan.Plan) []string {
	var out []string
	for _, c := range p.Changes {
		out = append(out, c.Addr.String())
	}
	return out
}

// confirm asks a person; where there is nobody to ask, yes must have been said.
func (c *cli) confirm(yes bool, question string) error {
	if yes {
		return nil
	}
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return errors.New("nothing was changed: there is nobody to ask; --yes says yes")
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was changed: the answer was no")
	}
	return nil
}
