package view

import (
	"fmt"
	"io"
	"strings"
)

// TestedMarkdown writes what came of asking a running lab as Markdown for a review comment: the sum, then the checks that
// do not hold and the flows that are not as proven.
func TestedMarkdown(w io.Writer, t TestResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Test: lab %s on target %s\n\n", code(t.Lab), code(t.Target))
	if wrong := t.Wrong(); wrong != "" {
		fmt.Fprintf(&b, "**The lab does not do what it should: %s.**\n", escape(wrong))
	} else {
		b.WriteString("**The lab does what it should.**\n")
	}
	for _, a := range t.Away {
		fmt.Fprintf(&b, "\n> %s could not be asked: %s\n", code(a.Name), escape(strings.Join(lines(a.Why), "; ")))
	}
	if r := t.Replay; r != nil {
		fmt.Fprintf(&b, "\nReplay of the proof: %s, %d as proven, %d otherwise, %d not asked, %d inconclusive.\n",
			plural(r.Questions, "question"), r.Agree, r.Disagree, r.Unasked, r.Exempt)
	}
	if len(t.Checks) > 0 {
		b.WriteString("\n| Check | From | Wanted | Got |\n|---|---|---|---|\n")
	}
	for _, c := range t.Checks {
		got := "as wanted"
		switch {
		case c.Error != "":
			got = "**not asked**: " + escape(c.Error)
		case !c.OK:
			got = "**" + escape(c.Got) + "**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", code(c.Check.Name), code(c.Check.From), escape(wanted(c.Check)), got)
	}
	if t.Replay != nil && len(t.Replay.Failed) > 0 {
		body := told(t.Replay.Failed)
		fence := fenceFor(body)
		fmt.Fprintf(&b, "\n<details><summary>Not as proven</summary>\n\n%stext\n%s%s\n\n</details>\n", fence, body, fence)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fenceFor is a code fence that body does not hold.
func fenceFor(body string) string {
	fence := "```"
	for strings.Contains(body, fence) {
		fence += "`"
	}
	return fence
}
