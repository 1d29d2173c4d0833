package view

import (
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/check/live"
)

// manyServices is how many services people are told of where all have one cause.
const manyServices = 30

// group writes verdicts that have one cause: who asked what, the proof, the lab, and the counters once. It names so many
// services of each of its addresses.
func (pr *printer) group(g live.Group, services int) {
	var flows []string
	for _, a := range g.Asked() {
		flows = append(flows, first(a.Services, services)+" at "+places(a.Places))
	}
	pr.line(2, 4, span{fmt.Sprintf("%s to %s: ", g.From, g.To), bold}, text(strings.Join(flows, "; ")))
	pr.line(4, 6, text("proof: "+proofText(g.Verdicts[0])))
	pr.line(4, 6, text("lab: "+labText(g.Verdicts)))
	for _, l := range counterLines(g.Verdicts) {
		pr.line(4, 6, text(l))
	}
}

func places(all []live.Places) string {
	var out []string
	for _, p := range all {
		out = append(out, fmt.Sprintf("%s (%s)", strings.Join(p.Addresses, ", "), p.Network))
	}
	return strings.Join(out, ", ")
}

// proofText is what the proof says of a question, and why.
func proofText(v live.Verdict) string {
	s := "blocked"
	if v.Open {
		s = "open"
		if v.By != v.To {
			s += fmt.Sprintf(", %s answers at port %d", v.By, v.Port)
		}
	}
	if by := v.Decision.String(); by != "" {
		s += ", " + by
	}
	if len(v.Path) > 0 {
		s += "; path " + strings.Join(v.Path, " > ")
	}
	return s
}

// labText is how the running lab answered questions of one kind: each way once.
func labText(all []live.Verdict) string {
	var ways, from []string
	for _, v := range all {
		way := v.Answer.Detail
		if v.Answer.By != "" {
			way += " by " + v.Answer.By
		}
		ways = once(ways, way)
		if v.Answer.Source.IsValid() {
			from = once(from, v.Answer.Source.String())
		}
	}
	s := string(all[0].Answer.State) + ", " + some(ways)
	if len(from) > 0 {
		s += ", asked from " + some(from)
	}
	return s
}

// once adds s to a list unless it is there.
func once(list []string, s string) []string {
	for _, x := range list {
		if x == s {
			return list
		}
	}
	return append(list, s)
}

// counterLines say what the rulesets counted while those of all that were asked once more were: of each machine one
// line, the packets of each rule added up.
func counterLines(all []live.Verdict) []string {
	var machines []string
	looks := map[string][]live.Counted{}
	asked := 0
	for _, v := range all {
		if len(v.Counters) > 0 {
			asked++
		}
		for _, c := range v.Counters {
			machines = once(machines, c.Machine)
			looks[c.Machine] = append(looks[c.Machine], c)
		}
	}
	var out []string
	for _, m := range machines {
		s := "counters of " + m
		if asked < len(all) {
			s += fmt.Sprintf(" (%d of %d asked again)", asked, len(all))
		}
		out = append(out, s+": "+strings.Join(summed(looks[m]), "; "))
	}
	return out
}

// summed are the rules that counted in several looks at one machine, and what is to be remarked of it.
func summed(looks []live.Counted) []string {
	var rules, remarks []string
	packets, said := map[string]uint64{}, map[string]int{}
	for _, c := range looks {
		for _, r := range c.Rules {
			rules = once(rules, r.Rule)
			packets[r.Rule] += r.Packets
		}
		for _, r := range c.Remarks {
			remarks = once(remarks, r)
			said[r]++
		}
	}
	var out []string
	for _, r := range rules {
		out = append(out, live.Count{Rule: r, Packets: packets[r]}.String())
	}
	for _, r := range remarks {
		if said[r] < len(looks) {
			r += fmt.Sprintf(" (%d of %d)", said[r], len(looks))
		}
		out = append(out, r)
	}
	return out
}
