// Package engine is labctl's one road: a lab becomes desired resources, the world is observed, the difference is a
// plan, and the plan is executed. Every verb goes down this road; there is no second path that creates, changes or
// deletes anything.
//
// It must not know which hypervisor is behind the Provider, how it is reached, or where the lab was written down.
package engine

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Engine walks the road for one target.
type Engine struct {
	Description provider.Description
	Provider    provider.Provider
	// Bases may have machines made from other images than the lab says, by what exists of it: it returns the lab with those,
	// and whether there are any. nil: all are made as the lab says.
	Bases func(lab.Lab, []provider.Observed) (lab.Lab, bool, error)
	// Installing tells what was heard of the lab's machines that install themselves from the network; nil: nobody hears.
	Installing func(context.Context, lab.Lab) ([]provider.Installation, error)
	// Guests reaches the inside of machines; nil leaves them alone (a provider without the ability to dial).
	Guests Guests
}

// Guests is what the engine needs to do inside machines. Its errors say which machine, and what was waited for.
type Guests interface {
	// Wait returns when the machine has booted and lets labctl in.
	Wait(ctx context.Context, m lab.Machine, p provider.Progress) error
	// Converge returns when everything that the seed's guest document says is true inside the machine.
	Converge(ctx context.Context, m lab.Machine, s lab.Seed, p provider.Progress) error
	// Answers says whether the machine lets labctl in now.
	Answers(ctx context.Context, m lab.Machine) bool
	// Check says what differs from the seed's guest document inside the machine, and changes nothing.
	Check(ctx context.Context, m lab.Machine, s lab.Seed) ([]guest.Difference, error)
}

// PlanOptions say what to plan.
type PlanOptions struct {
	Seeds   map[string]lab.Seed // by machine; plan-time seeds are enough
	Destroy bool                // as if the lab were empty
	Only    []string            // as in plan.Input
	Allow   []string            // as in plan.Input
	Attr    string              // as in plan.Input
	// Reinstall names machines whose root disks are made again although nothing differs.
	Reinstall []string
	Why       map[string]string // as in plan.Input
	Measure   bool              // see whether the host has room for it, if the provider can tell
	// Price says to estimate what it costs, if the provider can tell, by PriceTable or, if that is nil, by its own.
	Price      bool
	PriceTable []byte
}

// Plan compares the lab with the world. A name in Only that nothing goes by is an error; one in Allow, too, where something
// is refused: what it allowed may be gone since an apply that was interrupted.
func (e Engine) Plan(ctx context.Context, l lab.Lab, o PlanOptions) (plan.Plan, error) {
	return e.plan(ctx, l, o, true)
}

// plan is Plan; without named the names in Only and Allow are not judged: they were, before an apply that may have taken
// away what went by them.
func (e Engine) plan(ctx context.Context, l lab.Lab, o PlanOptions, named bool) (plan.Plan, error) {
	desired, observed, err := e.both(ctx, l, o)
	if err != nil {
		return plan.Plan{}, err
	}
	if e.Bases != nil && !o.Destroy {
		other, changed, err := e.Bases(l, observed)
		if err != nil {
			return plan.Plan{}, err
		}
		if changed { // once, for what follows is the same for the same lab
			e.Bases = nil
			return e.plan(ctx, other, o, named)
		}
	}
	judge := func(names []string) error {
		if !named {
			return nil
		}
		return known(l, desired, observed, o.Destroy, names)
	}
	if err := judge(o.Only); err != nil {
		return plan.Plan{}, err
	}
	in := plan.Input{
		Description: e.Description, Desired: desired, Observed: observed,
		Only: o.Only, Allow: o.Allow, Attr: o.Attr, Why: o.Why, Waits: waits(l), Installed: installers(l),
	}
	if in.Remake, err = roots(e.Description, l, desired, observed, o.Reinstall); err != nil {
		return plan.Plan{}, err
	}
	if o.Attr != "" {
		in.Behind = behind(l)
	}
	p, err := plan.Compute(in)
	if err != nil {
		return plan.Plan{}, err
	}
	if len(p.Refusals()) > 0 {
		if err := judge(o.Allow); err != nil {
			return plan.Plan{}, err
		}
	}
	p.Lab, p.Target, p.Destroy = l.Name, l.Target, o.Destroy
	if o.Measure {
		p.Room, err = e.room(ctx, l, p)
		if err == nil {
			p.Room, err = e.quotas(ctx, p, observed)
		}
	}
	if o.Price && err == nil {
		p.Cost, err = e.cost(ctx, p, observed, o.PriceTable)
	}
	return p, err
}

// both are what the lab should be and what is there of it, found out at the same time: the one takes the plugin's
// processor, the other waits for the host's answers.
func (e Engine) both(ctx context.Context, l lab.Lab, o PlanOptions) (desired []provider.Resource, observed []provider.Observed, err error) {
	if o.Destroy {
		observed, err = e.Observe(ctx, l)
		return nil, observed, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var unseen error
	var seen sync.WaitGroup
	seen.Go(func() { observed, unseen = e.Observe(ctx, l) })
	desired, err = e.Provider.Expand(l.Within(), o.Seeds)
	if err != nil { // the lab is at fault, whatever there is of it
		cancel()
	}
	seen.Wait()
	if err != nil {
		return nil, nil, about("expand lab "+l.Name, err)
	}
	if unseen == nil {
		observed = e.withoutRewritten(ctx, l, observed)
	}
	return desired, observed, unseen
}

// Observe returns what exists of the lab, sorted by kind in creation order, then name.
func (e Engine) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	observed, err := e.Provider.Observe(ctx, l.Within())
	if err != nil {
		return nil, about("observe lab "+l.Name, err)
	}
	sort.Slice(observed, func(i, j int) bool {
		a, b := observed[i].Addr, observed[j].Addr
		if ra, rb := e.Description.Rank(a.Kind), e.Description.Rank(b.Kind); ra != rb {
			return ra < rb
		}
		return a.Compare(b) < 0
	})
	return observed, nil
}

// about makes err one about op, unless it is about a thing of its own.
func about(op string, err error) error {
	var e *provider.Error
	if errors.As(err, &e) && e.Addr == (provider.Addr{}) {
		return &provider.Error{Op: op, Code: e.Code, Text: e.Text, Path: e.Path, More: e.More}
	}
	return provider.Wrap(op, provider.Addr{}, err)
}

// ApplyOptions say how to execute a plan.
type ApplyOptions struct {
	apply.Options
	// Seed returns the machine's seed with its secrets resolved. It is asked at the last moment, once per change.
	Seed func(machine string) (lab.Seed, error)
	// Timeout is how long a change that does not wait for a guest may take; 0 is ten minutes.
	Timeout time.Duration
	// Look is how often a machine that installs itself is looked at, and Silence how long nothing may be heard of one that
	// was there before until it is started over; 0 are installLook and installSilence.
	Look, Silence time.Duration
	// Again are the options the plan was made with; after a success the engine plans once more with them, to see that
	// nothing is left to do.
	Again PlanOptions
}

// Apply executes p, which was made for l. What failed on the way is in the report. An error with an empty report means
// that nothing was done: a plan with refusals is one. An error beside a report means that everything was done, and that
// the look at the world afterwards failed.
func (e Engine) Apply(ctx context.Context, l lab.Lab, p plan.Plan, o ApplyOptions) (apply.Report, error) {
	if refused := p.Refusals(); len(refused) > 0 {
		return apply.Report{}, &RefusedError{Changes: refused}
	}
	if short := p.Room.Refused(); len(short) > 0 {
		return apply.Report{}, &NoRoomError{Problems: short}
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Minute
	}
	r, err := apply.Run(ctx, newWorker(e, l, p, o), p, o.Options)
	if err != nil || r.Err() != nil || p.Empty() {
		return r, err
	}
	o.Again.Measure, o.Again.Reinstall = false, nil // that was done
	again, err := e.plan(ctx, l, o.Again, false)
	if err != nil {
		return r, err
	}
	for _, c := range again.Changes {
		if adopted(p, c.Addr) { // as it was: what the lab wants of it is the next plan's
			continue
		}
		r.Unsettled = append(r.Unsettled, c.Addr)
	}
	return r, nil
}

// adopted says whether p adopts the thing at a.
func adopted(p plan.Plan, a provider.Addr) bool {
	return slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Addr == a && c.Action == plan.Adopt })
}

// RefusedError says that a plan holds changes that must be told by name.
type RefusedError struct{ Changes []plan.Change }

func (e *RefusedError) Error() string {
	text := "refused:"
	for i, c := range e.Changes {
		if i > 0 {
			text += ";"
		}
		text += " " + c.Refused
	}
	return text
}
