package replay

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/lab"
)

// ask lets every machine ask its questions.
func (r *run) ask(ctx context.Context) {
	by := map[string][]int{}
	var machines []string
	for i, q := range r.Set.Questions {
		if by[q.From] == nil {
			machines = append(machines, q.From)
		}
		by[q.From] = append(by[q.From], i)
	}
	for _, m := range r.machines() {
		if by[m] == nil && r.posts[m] != nil { // it only listens
			r.Tell(Event{Machine: m, End: true})
		}
	}
	r.each(machines, func(name string) {
		err := r.askFrom(ctx, name, by[name], turn{parallel: parallel})
		if r.posts[name] != nil {
			r.Tell(Event{Machine: name, End: true, Err: err})
		}
	})
}

// turn is how questions are asked.
type turn struct {
	parallel int           // at once
	wait     time.Duration // for each answer; 0 is what it needs
	again    string        // said of it, if it is not the first
}

// askFrom lets one machine ask the questions at these places, and keeps the answers.
func (r *run) askFrom(ctx context.Context, name string, places []int, how turn) error {
	var asking []probe.Question
	for _, i := range places {
		q, a := r.prepare(i)
		if a != nil {
			r.answers[i] = *a
			continue
		}
		if how.wait > 0 {
			q.Wait = how.wait
		}
		asking = append(asking, q)
	}
	if len(asking) == 0 {
		return nil
	}
	r.Tell(Event{Machine: name, Phase: "asking " + count(len(asking), "question") + how.again})
	// Each of them may take the whole of its time, and the program may be slow to start.
	limit := reachTime + time.Duration(len(asking)/how.parallel+1)*max(answerTime, how.wait)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s did not answer %s in %s", name, count(len(asking), "question"), limit))
	defer cancel()
	answers, _, err := probe.Ask(ctx, r.shell(name), probe.Asking{Machine: name, Token: r.token, Parallel: how.parallel, Questions: asking})
	if err != nil && context.Cause(ctx) != nil {
		err = context.Cause(ctx)
	}
	for _, q := range asking {
		why := "it was not answered"
		if err != nil {
			why = err.Error()
		}
		r.answers[q.ID] = live.Answer{State: live.Unasked, Detail: why}
	}
	for _, a := range answers {
		if slices.Contains(places, a.ID) {
			r.answers[a.ID] = r.answer(a)
		}
	}
	return err
}

func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// prepare makes a question for the program of the one at place i, or says at once why it is not asked.
func (r *run) prepare(i int) (probe.Question, *live.Answer) {
	q := r.Set.Questions[i]
	for _, m := range []string{q.From, q.To, q.By} {
		if why := r.away[m]; why != "" {
			return probe.Question{}, &live.Answer{State: live.Unasked, Detail: why}
		}
	}
	out := probe.Question{ID: i, Proto: lab.Proto(q.Packet.Proto), Dst: q.Packet.Dst, Port: q.Packet.Dport, How: probe.Echo}
	if q.StandIn {
		real, ok := r.real[q.Packet.Dst]
		if !ok {
			return out, &live.Answer{State: live.Unasked, Detail: fmt.Sprintf("%s has no address on %s", q.To, q.Network)}
		}
		out.Dst = real
	}
	if q.Open {
		out.Wait = answerTime
	}
	if out.Proto == lab.ICMP {
		return out, nil
	}
	held, why := r.held(q, out.Dst)
	switch {
	case why != "":
		return out, &live.Answer{State: live.Unasked, Detail: why}
	case !held:
	case out.Proto == lab.TCP:
		out.How = probe.Connect
	case r.port(q) == 53:
		out.How = probe.DNS
	case r.port(q) == 123:
		out.How = probe.NTP
	default:
		return out, &live.Answer{State: live.Exempt, Detail: fmt.Sprintf("a service of %s holds udp/%d, and what it would answer is not known", r.target(q), r.port(q))}
	}
	return out, nil
}

// target is the machine where a question arrives if it does, and port the port there.
func (r *run) target(q live.Question) string {
	if q.Open {
		return q.By
	}
	return q.To
}

func (r *run) port(q live.Question) uint16 {
	if q.Open {
		return q.Port
	}
	return q.Packet.Dport
}

// held says whether something else than our listener holds the port where a question arrives, or why nobody can listen.
func (r *run) held(q live.Question, dst netip.Addr) (bool, string) {
	target, port := r.target(q), r.port(q)
	l := r.posts[target]
	if l == nil {
		return false, target + " does not listen"
	}
	if !l.Alive() {
		return false, "the listeners of " + target + " have ended"
	}
	p := probe.Place{Proto: lab.Proto(q.Packet.Proto), Addr: dst, Port: port}
	if target == q.To {
		if why := l.Failed[p]; why != "" {
			return false, fmt.Sprintf("%s cannot listen on %s: %s", target, netip.AddrPortFrom(dst, port), why)
		}
		return l.Held[p], ""
	}
	for x := range l.Held { // a published port: it arrives at one of the machine's addresses
		if x.Proto == p.Proto && x.Port == p.Port && x.Addr.Is4() == dst.Is4() {
			return true, ""
		}
	}
	return false, ""
}

// answer is what the program's answer means. Addresses that stand for others in the proof are put back.
func (r *run) answer(a probe.Answer) live.Answer {
	out := live.Answer{Source: a.Source, By: a.By, Detail: a.Detail}
	for standIn, real := range r.real {
		if real == a.Source {
			out.Source = standIn
		}
	}
	switch a.State {
	case probe.Open:
		out.State = live.Opened
	case probe.Unsure:
		out.State = live.Exempt
	case probe.Broken:
		out.State = live.Unasked
	default:
		out.State = live.Stopped
	}
	return out
}

// again asks once more what should have been open: machine after machine, so that nothing else is under way, and with
// more patience.
func (r *run) again(ctx context.Context) {
	by := map[string][]int{}
	var machines []string
	for i, v := range live.Compare(r.Set, r.answers) {
		if v.Kind != live.Blocked {
			continue
		}
		if by[v.From] == nil {
			machines = append(machines, v.From)
		}
		by[v.From] = append(by[v.From], i)
	}
	for _, m := range machines {
		if ctx.Err() != nil {
			return
		}
		how := turn{parallel: 1, wait: againTime, again: " again"}
		if len(by[m]) > 5 { // it is not for want of patience then
			how.parallel = 16
		}
		err := r.askFrom(ctx, m, by[m], how)
		r.Tell(Event{Machine: m, End: true, Err: err})
	}
}
