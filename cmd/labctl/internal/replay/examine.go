package replay

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/lab"
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
		err := r.askFrom(ctx, v.From, []int{i}, turn{parallel: 1, wait: quietTime, again: " to see what rules count"})
		r.answers[i] = answer // what counts is the first
		after, more := r.counters(ctx, v.Judges)
		r.Tell(Event{Machine: v.From, End: true, Err: err})
		for k, m := range v.Judges {
			v.Counters = append(v.Counters, r.counted(m, v.Question, before[k], after[k], firstError(errs[k], more[k])))
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

// counted says what a machine counted between two looks that q may have caused.
func (r *run) counted(machine string, q live.Question, before, after []probe.Counter, err error) live.Counted {
	c := live.Counted{Machine: machine}
	if err != nil {
		c.Remarks = []string{err.Error()}
		return c
	}
	for _, m := range probe.Moved(before, after) {
		name := m.Comment
		if o, ok := origin(m); !ok {
			name = strings.TrimSpace(fmt.Sprintf("%s (handle %d, not made by labctl)", m.Comment, m.Handle))
		} else if !r.about(o, machine, q) {
			continue
		}
		c.Rules = append(c.Rules, live.Count{Rule: m.Chain + ": " + name, Packets: m.Packets})
	}
	if len(c.Rules) == 0 {
		c.Remarks = append(c.Remarks, "no rule counted it")
	}
	foreign := map[string]int{}
	var chains []string
	for _, x := range after {
		if _, ok := origin(x); !ok {
			if foreign[x.Chain] == 0 {
				chains = append(chains, x.Chain)
			}
			foreign[x.Chain]++
		}
	}
	for _, chain := range chains {
		c.Remarks = append(c.Remarks, fmt.Sprintf("chain %s has %s that labctl did not make", chain, count(foreign[chain], "rule")))
	}
	return c
}

// about says whether a question can be what moved the counter of one of a machine's rules. Meanwhile labctl itself comes
// in by ssh, its connections go on, and the machine looks after its addresses.
func (r *run) about(o nft.Origin, machine string, q live.Question) bool {
	switch {
	case o.Kind == nft.Housekeeping || o.Kind == nft.Connections && o.Name == "open connections":
		return false
	case o.Kind == nft.Implied && o.Name == nft.AdminName:
		return machine == r.target(q) && q.Packet.Proto == string(lab.TCP) && r.port(q) == 22 && r.admits(machine, q.Packet.Src)
	case o.Chore():
		return machine == q.To && q.Packet.Proto == string(lab.UDP)
	}
	return true
}

// admits says whether labctl may come into a machine from an address.
func (r *run) admits(machine string, src netip.Addr) bool {
	m, _ := r.Lab.Machine(machine)
	return slices.ContainsFunc(m.NICs, func(nic lab.NIC) bool {
		n, _ := r.Lab.Network(nic.Network)
		return slices.ContainsFunc(nft.Admin(r.Lab, n, src.Is6()), func(p netip.Prefix) bool { return p.Contains(src) })
	})
}

// origin is where a rule that labctl made comes from, as its comment says (nft.Origin.Comment). ok is false for a rule
// that labctl did not make.
func origin(c probe.Counter) (o nft.Origin, ok bool) {
	kind, name, ok := strings.Cut(c.Comment, ": ")
	o.Kind, o.Name = nft.Kind(kind), name
	return o, ok && slices.Contains([]nft.Kind{nft.FromPolicy, nft.FromPublish, nft.FromNAT, nft.Implied, nft.AntiSpoof, nft.Connections, nft.DefaultRule, nft.Housekeeping}, o.Kind)
}
