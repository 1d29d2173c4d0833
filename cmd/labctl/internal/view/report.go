package view

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
)

// Report writes what became of a plan: the failures one by one, what was skipped because of them in sum, and what
// would not settle.
func Report(w io.Writer, r apply.Report, o Options) error {
	pr := &printer{Options: o}
	if len(r.Results) == 0 {
		pr.line(0, 2, span{fmt.Sprintf("Nothing to do: lab %s on target %s is as the spec says.", r.Lab, r.Target), green})
		return pr.flush(w)
	}
	for _, x := range r.Results {
		if x.State == apply.Failed {
			pr.failure(x)
		}
	}
	pr.skipped(r)
	for _, x := range r.Results {
		for _, n := range x.Notes {
			pr.line(0, 4, span{x.Addr.String(), bold}, text(": "+n))
		}
	}
	if len(r.Unsettled) > 0 {
		var names []string
		for _, a := range r.Unsettled {
			names = append(names, a.String())
		}
		pr.line(0, 2, span{"Unsettled: ", alarm}, text(some(names)+". Everything was done, yet a new plan would change this "+
			"again: the provider breaks its promise, or someone else is at work on it. `labctl plan` shows the difference."))
	}
	pr.line(0, 2, reportSummary(r)...)
	return pr.flush(w)
}

// failure writes one failure; what its error says in further lines, the last of a log, is indented.
func (pr *printer) failure(x apply.Result) {
	reason := lines(x.Error)
	if len(reason) == 0 {
		reason = []string{fmt.Sprintf("cannot %s %s: no reason given", x.Action, x.Addr)}
	}
	head := reason[0]
	if !strings.Contains(head, x.Addr.String()) {
		head = x.Addr.String() + ": " + head
	}
	pr.line(0, 4, span{"Failed: ", alarm}, text(head))
	for _, l := range reason[1:] {
		pr.line(4, 6, text(strings.TrimRight(l, " \r")))
	}
}

// skipped writes what was not tried, by reason.
func (pr *printer) skipped(r apply.Report) {
	by := map[string][]string{}
	var reasons []string
	for _, x := range r.Results {
		if x.State != apply.Skipped {
			continue
		}
		if by[x.Error] == nil {
			reasons = append(reasons, x.Error)
		}
		by[x.Error] = append(by[x.Error], x.Addr.String())
	}
	sort.SliceStable(reasons, func(i, j int) bool { return len(by[reasons[i]]) > len(by[reasons[j]]) })
	for _, why := range reasons {
		pr.line(0, 4, span{fmt.Sprintf("Skipped: %d, ", len(by[why])), yellow}, text(why+": "+some(by[why])))
	}
}

// reportSummary is the report in one line.
func reportSummary(r apply.Report) []span {
	done := map[plan.Action]int{}
	state := map[apply.State]int{}
	for _, x := range r.Results {
		state[x.State]++
		if x.State == apply.Done {
			done[x.Action]++
		}
	}
	word, color := "Applied", green
	if state[apply.Failed]+state[apply.Skipped] > 0 || len(r.Unsettled) > 0 {
		word, color = "Not all applied", alarm
		if len(r.Unsettled) > 0 {
			word = "Applied, but not settled"
		}
	}
	s := fmt.Sprintf(": %d created, %d changed", done[plan.Create], done[plan.Update])
	if done[plan.Replace] > 0 {
		s += fmt.Sprintf(", %d replaced", done[plan.Replace])
	}
	s += fmt.Sprintf(", %d deleted", done[plan.Delete])
	if done[plan.Adopt] > 0 {
		s += fmt.Sprintf(", %d adopted", done[plan.Adopt])
	}
	if done[plan.Release] > 0 {
		s += fmt.Sprintf(", %d released", done[plan.Release])
	}
	if state[apply.Failed]+state[apply.Skipped] > 0 {
		s += fmt.Sprintf("; %d failed, %d skipped. Run it again to go on", state[apply.Failed], state[apply.Skipped])
	}
	return []span{{word, color}, {s + ".", bold}}
}
