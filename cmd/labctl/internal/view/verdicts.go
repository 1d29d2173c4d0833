package view

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check/live"
)

// Test writes what came of asking a running lab: a summary, then everything that is not as it should be.
func Test(w io.Writer, t TestResult, o Options) error {
	pr := &printer{Options: o}
	pr.line(0, 2, span{fmt.Sprintf("Test of lab %s on target %s", t.Lab, t.Target), bold})
	if t.Replay == nil && len(t.Checks) == 0 {
		pr.line(0, 2, text("There is nothing to ask: no two machines that are on, and no checks."))
		return pr.flush(w)
	}
	for _, a := range t.Away {
		pr.line(0, 2, span{a.Name, bold}, span{" could not be asked: ", alarm}, text(strings.Join(lines(a.Why), "; ")))
	}
	if t.Replay != nil {
		pr.replay(t.Replay)
	}
	if len(t.Checks) > 0 {
		pr.checks(t.Checks)
	}
	pr.blank()
	if wrong := t.Wrong(); wrong != "" {
		pr.line(0, 2, span{"The lab does not do what it should: " + wrong + ".", alarm})
	} else {
		pr.line(0, 2, span{"The lab does what it should.", green})
	}
	return pr.flush(w)
}

// replay writes the summary of a replay, and its failures.
func (pr *printer) replay(r *ReplayResult) {
	pr.blank()
	pr.line(0, 2, span{"Replay: ", bold}, text(fmt.Sprintf("%s, %s, %s (%d by IPv6); proven open %d, blocked %d.",
		plural(len(r.Pairs), "pair"), plural(r.Ports, "port"), plural(r.Questions, "question"), r.IPv6, r.Open, r.Questions-r.Open)))
	result := []span{{plural(r.Agree, "answer") + " as proven", green}}
	if r.Disagree > 0 {
		result = append(result, text(", "), span{number(r.Disagree) + " otherwise", alarm})
	}
	if r.Unasked > 0 {
		result = append(result, text(", "), span{number(r.Unasked) + " not asked", alarm})
	}
	if r.Exempt > 0 {
		result = append(result, text(", "), span{number(r.Exempt) + " inconclusive", yellow})
	}
	pr.line(2, 4, append(result, text("."))...)
	for _, x := range r.Reasons {
		pr.line(2, 4, text(fmt.Sprintf("Inconclusive: %s: %s.", plural(x.Count, "question"), x.Why)))
	}
	if len(r.Adopted) > 0 {
		pr.line(2, 4, text("Not asked: machines that others made, in which labctl runs nothing, "+some(r.Adopted)+"."))
	}
	if len(r.Off) > 0 {
		pr.line(2, 4, text("Not asked: what is off as it should be, "+some(r.Off)+"."))
	}
	if r.World > 0 {
		pr.line(2, 4, text("Not asked: "+plural(r.World, "flow")+" of the proof between machines and the world; machines do not call out for a test."))
	}
	if r.Undecided > 0 {
		pr.line(2, 4, text("Not asked: "+plural(r.Undecided, "flow")+" of which the source port decides."))
	}
	for _, k := range []live.Kind{live.Open, live.Blocked, live.Elsewhere} {
		pr.kind(r.Failed, k)
	}
	pr.unasked(r.Failed)
}

// shown is how many groups of a kind are told to people; in JSON are all questions.
const shown = 50

// kind writes the disagreements of one kind.
func (pr *printer) kind(all []live.Verdict, k live.Kind) {
	groups := live.Groups(ofKind(all, k))
	if len(groups) == 0 {
		return
	}
	pr.blank()
	pr.line(0, 2, span{upper(string(k)), alarm})
	for i, g := range groups {
		if i == shown {
			pr.line(2, 4, text(fmt.Sprintf("and %d more: -o json has them all", len(groups)-shown)))
			return
		}
		pr.group(g, manyServices)
	}
}

func ofKind(all []live.Verdict, k live.Kind) []live.Verdict {
	return slices.DeleteFunc(slices.Clone(all), func(v live.Verdict) bool { return v.Kind != k })
}

// unasked writes what could not be asked, by reason.
func (pr *printer) unasked(all []live.Verdict) {
	why := map[string]int{}
	for _, v := range all {
		if v.Kind == live.Unanswered {
			why[v.Answer.Detail]++
		}
	}
	if len(why) == 0 {
		return
	}
	pr.blank()
	pr.line(0, 2, span{"Not asked", alarm})
	for i, r := range reasoned(why) {
		if i == shown {
			pr.line(2, 4, text("and more: -o json has them all"))
			return
		}
		pr.line(2, 4, text(plural(r.Count, "question")+": "+strings.Join(lines(r.Why), "; ")))
	}
}

// checks writes what came of the declared checks: those that hold in one line.
func (pr *printer) checks(all []CheckResult) {
	var hold []string
	for _, c := range all {
		if c.OK {
			hold = append(hold, c.Check.Name)
		}
	}
	pr.blank()
	pr.line(0, 2, span{"Checks: ", bold}, text(fmt.Sprintf("%d of %d hold", len(hold), len(all))), text(listed(hold)))
	for _, c := range all {
		if c.OK {
			continue
		}
		pr.line(2, 4, span{c.Check.Name, bold}, text(" from "+c.Check.From+": "+wanted(c.Check)))
		if c.Error != "" {
			pr.line(4, 6, span{"could not be asked: ", alarm}, text(strings.Join(lines(c.Error), "; ")))
		} else {
			pr.line(4, 6, span{"got: ", alarm}, text(fmt.Sprintf("%s (%s)", c.Got, tries(c))))
		}
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "."
	}
	return ": " + some(names) + "."
}

func tries(c CheckResult) string {
	if c.Tries == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", c.Tries)
}
