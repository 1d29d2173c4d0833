package view

import (
	"io"
	"strings"
)

// TargetFacts say where a lab can run.
type TargetFacts struct {
	Lab     string       `json:"lab"`
	Targets []TargetFact `json:"targets"`
}

// TargetFact is what a target's plugin makes of a lab.
type TargetFact struct {
	Target   string           `json:"target"`
	Provider string           `json:"provider"`
	State    TargetState      `json:"state"`
	Findings []LocatedFinding `json:"findings,omitempty"` // what it cannot honour, or why it was not asked
}

// TargetState is whether a lab can run on a target.
type TargetState string

// The states.
const (
	Possible TargetState = "yes"
	Refused  TargetState = "no"
	Unasked  TargetState = "unknown" // its plugin is not here
)

// Targets writes where a lab can run, and what stands in its way elsewhere.
func Targets(w io.Writer, f TargetFacts, o Options) error {
	pr := &printer{Options: o}
	if len(f.Targets) == 0 {
		pr.line(0, 2, text("Lab "+f.Lab+" has no targets."))
	}
	for _, t := range f.Targets {
		color := map[TargetState]style{Possible: green, Refused: red, Unasked: yellow}[t.State]
		word := map[TargetState]string{Possible: "can run here", Refused: "cannot run here as it is", Unasked: "not known"}[t.State]
		pr.line(0, 2, span{t.Target, bold}, text(" ("+t.Provider+"): "), span{word, color})
		for _, x := range sorted(t.Findings) {
			var spans []span
			if at := x.String(); at != "" {
				spans = append(spans, span{at, bold}, text(": "))
			}
			if x.Path != "" {
				spans = append(spans, text(x.Path+": "))
			}
			said := strings.TrimPrefix(strings.Join(lines(x.Text), "; "), "on target "+t.Target+" ("+t.Provider+"): ")
			pr.line(2, 4, append(spans, text(said))...)
		}
	}
	return pr.flush(w)
}
