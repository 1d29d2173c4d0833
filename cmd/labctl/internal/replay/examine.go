package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/guest/probe"
)

// examine asks disagreements once more, one at a time, and notes what the rulesets on the way counted meanwhile. Of
// many it takes a bounded number, of each pair one before the second of any.
func (r *run) examine(ctx context.Context, verdicts []live.Verdict) {
	asked := map[[2]string]int{}
	round := map[int]int{} // of the verdict at a place: how many of its pair come before it
	var places []int
	for i, v := range verdicts {
		if v.Disagrees() && len(v.Judges) > 0 {
			pair := [2]string{v.From, v.To}
			round[i] = asked[pair]
			asked[pair]++
			places = append(places, i)
		}
	}
	slices.SortStableFunc(places, func(a, b int) int { return round[a] - round[b] })
	for _, i := range places[:min(len(places), examined)] {
		if ctx.Err() != nil {
			return
		}
		v := &verdicts[i]
		before, errs := r.counters(ctx, v.Judges)
		answer := r.answers[i]
		err := r.askFrom(ctx, v.From, []int{i}, 1, quietTime) // enough for rules to count it
		r.answers[i] = answer                                 // what counts is the first
		after, more := r.counters(ctx, v.Judges)
		r.Tell(Event{Machine: v.From, End: true, Err: err})
		for k, m := range v.Judges {
			v.Counters = append(v.Counters, counted(m, before[k], after[k], firstError(errs[k], more[k])))
		}
	}
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// counters reads the counters of several machines.
func (r *run) counters(ctx context.Context, machines []string) ([][]probe.Counter, []error) {
	out, errs := make([][]probe.Counter, len(machines)), make([]error, len(machines))
	var all sync.WaitGroup
	for i, m := range machines {
		if why := r.away[m]; why != "" {
			errs[i] = fmt.Errorf("%s", why)
			continue
		}
		all.Go(func() { out[i], errs[i] = probe.Counters(ctx, r.shell(m), m) })
	}
	all.Wait()
	return out, errs
}

// counted says what a machine counted between two looks.
func counted(machine string, before, after []probe.Counter, err error) live.Counted {
	c := live.Counted{Machine: machine}
	if err != nil {
		c.Remark = err.Error()
		return c
	}
	for _, m := range probe.Moved(before, after) {
		// labctl's own connection moves these all the time.
		if strings.HasPrefix(m.Comment, "state: open connections") || strings.HasPrefix(m.Comment, "link: ") {
			continue
		}
		name := m.Comment
		if !made(m) {
			name = strings.TrimSpace(fmt.Sprintf("%s (handle %d, not made by labctl)", m.Comment, m.Handle))
		}
		c.Rules = append(c.Rules, fmt.Sprintf("%s: %s +%d", m.Chain, name, m.Packets))
	}
	foreign := map[string]int{}
	var chains []string
	for _, x := range after {
		if !made(x) {
			if foreign[x.Chain] == 0 {
				chains = append(chains, x.Chain)
			}
			foreign[x.Chain]++
		}
	}
	var remarks []string
	if len(c.Rules) == 0 {
		remarks = append(remarks, "no rule counted it")
	}
	for _, chain := range chains {
		remarks = append(remarks, fmt.Sprintf("chain %s has %s that labctl did not make", chain, count(foreign[chain], "rule")))
	}
	c.Remark = strings.Join(remarks, "; ")
	return c
}

// made says whether labctl made a rule: its comment begins with what it is there for.
func made(c probe.Counter) bool {
	kind, _, ok := strings.Cut(c.Comment, ": ")
	return ok && slices.Contains([]nft.Kind{nft.FromPolicy, nft.FromPublish, nft.FromNAT, nft.Implied, nft.AntiSpoof, nft.Connections, nft.DefaultRule, nft.Housekeeping}, nft.Kind(kind))
}
