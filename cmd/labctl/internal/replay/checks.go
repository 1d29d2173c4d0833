package replay

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/lab"
)

// Checked is what came of a declared check.
type Checked struct {
	Check lab.Check
	OK    bool
	Got   string // at the last try
	Tries int
	Err   error // it could not be asked
}

// Checks runs declared checks, those of several machines at once, in the order in which they come. Of o it uses Shell,
// Away, Jobs and Tell. It does not belong beside Run: a listener of that could be taken for the service that a check
// asks for.
func Checks(ctx context.Context, o Options, checks []lab.Check) []Checked {
	if o.Tell == nil {
		o.Tell = func(Event) {}
	}
	out := make([]Checked, len(checks))
	var all sync.WaitGroup
	slots := make(chan bool, max(o.Jobs, 1))
	for i, c := range checks {
		out[i].Check = c
		if why := o.Away[c.From]; why != "" {
			out[i].Err = fmt.Errorf("%s", why)
			continue
		}
		slots <- true
		all.Go(func() {
			defer func() { <-slots }()
			o.check(ctx, &out[i])
		})
	}
	all.Wait()
	return out
}

func (o Options) check(ctx context.Context, r *Checked) {
	c := r.Check
	limit := reachTime + time.Duration(c.Within)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s did not answer in %s", c.From, limit))
	defer cancel()
	o.Tell(Event{Machine: c.From, Phase: "check " + c.Name})
	got, err := probe.Check(ctx, o.Shell(c.From), c)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %v", context.Cause(ctx), err)
	}
	r.OK, r.Got, r.Tries, r.Err = got.OK, got.Got, got.Tries, err
	o.Tell(Event{Machine: c.From, End: true, Err: err})
}
