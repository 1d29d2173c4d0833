package view

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/engine/plan"
)

// PlanMarkdown writes p as GitHub-flavoured Markdown for a review comment: the sum, a table of the changes, and the
// whole plan folded away.
func PlanMarkdown(w io.Writer, p plan.Plan) error {
	var b strings.Builder
	title := "Plan"
	if p.Destroy {
		title = "Plan to destroy"
	}
	fmt.Fprintf(&b, "### %s: lab %s on target %s\n\n", title, code(p.Lab), code(p.Target))
	if p.Empty() {
		b.WriteString(nothing(p) + "\n")
	} else {
		b.WriteString(markdownSummary(p))
		b.WriteString("\n| | Thing | Action | Impact | Cuts off | Data |\n|:-:|---|---|---|---|---|\n")
		for _, c := range p.Changes {
			b.WriteString(markdownRow(c))
		}
		for _, c := range p.Changes {
			if c.Move != nil {
				fmt.Fprintf(&b, "\n> **Moves:** %s.\n", escape(moveText(c)))
			}
		}
		for _, c := range p.Refusals() {
			fmt.Fprintf(&b, "\n> **Refused:** %s; %s allows it.\n", escape(c.Refused), code(allow(c)))
		}
	}
	for _, line := range slices.Concat(RoomLines(p.Room), CostLines(p.Cost), p.Advice) {
		fmt.Fprintf(&b, "\n> %s\n", escape(line))
	}
	if len(p.Deferred) > 0 {
		b.WriteString("\nLeft for later:\n\n")
		for _, d := range p.Deferred {
			fmt.Fprintf(&b, "- %s: %s\n", code(d.Addr.String()), escape(d.Why))
		}
	}
	if !p.Empty() {
		details := &printer{}
		details.changes(p)
		body := strings.TrimPrefix(details.b.String(), "\n")
		fence := fenceFor(body)
		fmt.Fprintf(&b, "\n<details><summary>Details</summary>\n\n%stext\n%s%s\n\n</details>\n", fence, body, fence)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func markdownSummary(p plan.Plan) string {
	var s strings.Builder
	for i, sp := range summary(p) {
		if i == 0 {
			fmt.Fprintf(&s, "**%s**", escape(strings.TrimPrefix(sp.text, "Plan: ")))
			continue
		}
		s.WriteString(escape(sp.text))
	}
	return s.String() + "\n"
}

func markdownRow(c plan.Change) string {
	sign, _ := mark(c.Action)
	data := ""
	if c.DataLoss {
		data = "**lost**"
	}
	if c.DataKept {
		data = "kept aside"
	}
	impact := string(c.Impact)
	if c.Refused != "" {
		impact += " (refused)"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", code(sign), code(c.Addr.String()),
		c.Action, strings.TrimSpace(impact), escape(some(c.CutOff)), data)
}

// code is s as a code span that may stand in a table.
func code(s string) string {
	return "`" + strings.NewReplacer("`", "'", "|", "\\|").Replace(clean(s)) + "`"
}

// escape keeps text from being read as Markdown or HTML.
func escape(s string) string {
	var b strings.Builder
	for _, r := range clean(s) {
		if strings.ContainsRune("\\`*_[]<>|#", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
