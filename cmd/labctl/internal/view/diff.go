package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/check/compare"
	"github.com/labctl-dev/labctl/check/reach"
)

// DiffFacts are what Diff shows, as one value for JSON.
type DiffFacts struct {
	compare.Diff
	From string `json:"from"` // the two sides as the user named them
	To   string `json:"to"`
	// Places are where rules and expectations stand, by their paths in the spec: first those of From.
	Places [2]map[string]Location `json:"places"`
}

// Diff writes what changes from one lab to another: what may be opened by whom, what must hold, and what it is made of.
func Diff(w io.Writer, d DiffFacts, o Options) error {
	pr := &printer{Options: o}
	if d.Empty() {
		pr.line(0, 2, text(diffNothing(d)))
		return pr.flush(w)
	}
	pr.line(0, 2, span{"From " + d.From + " to " + d.To, bold})
	if gone := diffWhole(d); gone != "" {
		pr.line(0, 2, text(gone))
	}
	pr.blank()
	if len(d.Opens)+len(d.Closes) == 0 {
		pr.line(0, 2, span{"Nobody reaches anybody by more or less than before.", bold})
	} else {
		pr.line(0, 2, span{"Who reaches whom", bold}, text(", by the proof"))
		for _, p := range d.Opens {
			pr.passage("+ opens ", red, p, d.Places[1])
		}
		for _, p := range d.Closes {
			pr.passage("- closes ", green, p, d.Places[0])
		}
	}
	if len(d.Expect) > 0 {
		pr.blank()
		pr.line(0, 2, span{"What must hold", bold})
		for _, h := range d.Expect {
			word, color := heldText(h)
			pr.line(2, 6, text(h.Text+" "), span{word, color})
		}
	}
	if len(d.Things) > 0 {
		pr.blank()
		pr.line(0, 2, span{"What it is made of", bold})
		for _, t := range d.Things {
			pr.thing(t)
		}
	}
	pr.blank()
	pr.line(0, 2, span{diffSummary(d), bold})
	return pr.flush(w)
}

func diffNothing(d DiffFacts) string {
	return fmt.Sprintf("No difference: %s and %s are the same lab, and everybody reaches whom they reached.", d.From, d.To)
}

// diffWhole says that there is a lab on one side only.
func diffWhole(d DiffFacts) string {
	switch {
	case d.Before == "":
		return "The lab " + d.After + " is new."
	case d.After == "":
		return "The lab " + d.Before + " is gone."
	}
	return ""
}

func (pr *printer) passage(sign string, color style, p reach.Passage, places map[string]Location) {
	spans := []span{{sign, color}, {passageText(p), bold}, text(passageNote(p))}
	spans = append(spans, span{byText(p, places), faint})
	pr.line(2, 6, spans...)
}

// passageText is "tcp/3306 from perimeter to db".
func passageText(p reach.Passage) string {
	return fmt.Sprintf("%s from %s to %s", some(p.Services), partyTexts(p.From), partyTexts(p.To))
}

func partyTexts(all []reach.Party) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return some(out)
}

func passageNote(p reach.Passage) string {
	var notes []string
	if p.Family != "" {
		notes = append(notes, "over "+p.Family)
	}
	if p.Unusual {
		notes = append(notes, "by a way that no ordinary program takes")
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, ", ") + ")"
}

// byText is the rules that decide, with their places.
func byText(p reach.Passage, places map[string]Location) string {
	if len(p.By) == 0 {
		return ": no filter is between them"
	}
	var out []string
	for _, o := range p.By {
		s := ruleText(o)
		if at, ok := places[o.Path]; ok {
			s += " (" + at.String() + ")"
		}
		out = append(out, s)
	}
	return ": " + some(out)
}

// heldText is what became of an expectation.
func heldText(h compare.Held) (string, style) {
	switch {
	case h.After == "":
		return "is expected no longer", yellow
	case h.After == compare.Broken && h.Before == compare.Holds:
		return "holds no longer", alarm
	case h.After == compare.Broken:
		return "is new, and does not hold", alarm
	case h.Before == compare.Broken:
		return "holds now", green
	}
	return "is new, and holds", green
}

func (pr *printer) thing(t compare.Thing) {
	sign, color := "~ ", yellow
	switch t.Action {
	case compare.Added:
		sign, color = "+ ", green
	case compare.Removed:
		sign, color = "- ", red
	}
	pr.line(2, 6, span{sign, color}, text(t.Kind+" "), span{t.Name, bold})
	for _, f := range t.Facts {
		pr.line(6, 10, span{f.Field + " ", faint}, text(factText(t, f)))
	}
}

// factText is one field before and after.
func factText(t compare.Thing, f compare.Fact) string {
	switch {
	case t.Action == compare.Added:
		return f.After
	case f.Before == "":
		return "is now " + f.After
	case f.After == "":
		return "was " + f.Before + ", and is gone"
	}
	return f.Before + " -> " + f.After
}

// diffSummary is everything in one line.
func diffSummary(d DiffFacts) string {
	n := map[compare.Action]int{}
	for _, t := range d.Things {
		n[t.Action]++
	}
	s := fmt.Sprintf("Opens %d, closes %d; %d added, %d changed, %d removed", len(d.Opens), len(d.Closes), n[compare.Added], n[compare.Changed], n[compare.Removed])
	broken := 0
	for _, h := range d.Expect {
		if h.After == compare.Broken {
			broken++
		}
	}
	if broken > 0 {
		s += fmt.Sprintf("; %s broken", plural(broken, "expectation"))
	}
	return s + "."
}

// DiffMarkdown is Diff as GitHub-flavoured Markdown for a review comment.
func DiffMarkdown(w io.Writer, d DiffFacts) error {
	var b strings.Builder
	name := d.After
	if name == "" {
		name = d.Before
	}
	fmt.Fprintf(&b, "### What changes in lab %s\n\n", code(name))
	if d.Empty() {
		b.WriteString(escape(diffNothing(d)) + "\n")
		_, err := io.WriteString(w, b.String())
		return err
	}
	fmt.Fprintf(&b, "**%s**", escape(diffSummary(d)))
	fmt.Fprintf(&b, " From %s to %s.", code(d.From), code(d.To))
	if gone := diffWhole(d); gone != "" {
		b.WriteString(" " + escape(gone))
	}
	b.WriteString("\n")
	if len(d.Opens)+len(d.Closes) == 0 {
		b.WriteString("\nNobody reaches anybody by more or less than before.\n")
	} else {
		b.WriteString("\n| Proof | Services | From | To | Because of |\n|:-:|---|---|---|---|\n")
		for _, p := range d.Opens {
			b.WriteString(passageRow("**opens**", p, d.Places[1]))
		}
		for _, p := range d.Closes {
			b.WriteString(passageRow("closes", p, d.Places[0]))
		}
	}
	for _, h := range d.Expect {
		word, _ := heldText(h)
		fmt.Fprintf(&b, "\n> %s **%s**\n", escape(h.Text), escape(word))
	}
	if len(d.Things) > 0 {
		fmt.Fprintf(&b, "\n<details><summary>What it is made of: %s</summary>\n\n| | Thing | Change |\n|:-:|---|---|\n", plural(len(d.Things), "change"))
		for _, t := range d.Things {
			b.WriteString(thingRow(t))
		}
		b.WriteString("\n</details>\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func passageRow(word string, p reach.Passage, places map[string]Location) string {
	return fmt.Sprintf("| %s | %s%s | %s | %s | %s |\n", word, code(some(p.Services)), escape(passageNote(p)),
		escape(partyTexts(p.From)), escape(partyTexts(p.To)), escape(strings.TrimPrefix(byText(p, places), ": ")))
}

func thingRow(t compare.Thing) string {
	var facts []string
	for _, f := range t.Facts {
		facts = append(facts, escape(f.Field+": "+factText(t, f)))
	}
	return fmt.Sprintf("| %s | %s %s | %s |\n", t.Action, escape(t.Kind), code(t.Name), strings.Join(facts, "<br>"))
}
