package view

import (
	"cmp"
	"fmt"
	"io"
	"strings"
)

// FindingsMarkdown writes findings as a table for a review comment.
func FindingsMarkdown(w io.Writer, lab string, fs []LocatedFinding) error {
	var b strings.Builder
	errs, warnings := count(fs)
	switch {
	case len(fs) == 0:
		fmt.Fprintf(&b, "### Vet: %s makes sense\n\nNothing is wrong, and what the policy says is proven.\n", code(lab))
	case errs == 0:
		fmt.Fprintf(&b, "### Vet: %s makes sense, with %s\n", code(lab), plural(warnings, "warning"))
	default:
		fmt.Fprintf(&b, "### Vet: %s has %s\n", code(lab), plural(errs, "error"))
	}
	if len(fs) > 0 {
		b.WriteString("\n| | Where | What | Why |\n|---|---|---|---|\n")
	}
	for _, f := range sorted(fs) {
		word := "**error**"
		if f.Warning {
			word = "warning"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", word, span1(f.String()), span1(f.Path), escape(strings.Join(lines(f.Text), "; ")))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// span1 is code, and nothing for nothing.
func span1(s string) string {
	if s == "" {
		return ""
	}
	return code(s)
}

func count(fs []LocatedFinding) (errs, warnings int) {
	for _, f := range fs {
		if f.Warning {
			warnings++
		} else {
			errs++
		}
	}
	return errs, warnings
}

// FindingsJUnit writes findings as JUnit XML: an error is a failed case; a warning is one that passed, with its text; a
// lab of which nothing is wrong is one case.
func FindingsJUnit(w io.Writer, lab string, fs []LocatedFinding) error {
	all := junitSuites{Name: printable("vet " + lab)}
	var cases []junitCase
	for _, f := range sorted(fs) {
		place := cmp.Or(f.String(), lab)
		c := junitCase{Class: "vet." + printable(f.rule()), Name: printable(strings.TrimSpace(place + " " + f.Path))}
		if f.Warning {
			c.Out = printable(f.Text)
		} else {
			c.Failure = &junitFailure{Message: printable(f.Text), Text: printable(place + ": " + f.Text)}
		}
		cases = append(cases, c)
	}
	if len(cases) == 0 {
		cases = []junitCase{{Class: "vet", Name: printable(lab + " makes sense")}}
	}
	all.add("vet", cases)
	return all.write(w)
}

// FindingsSARIF writes findings in the format that code scanning reads.
func FindingsSARIF(w io.Writer, version string, fs []LocatedFinding) error {
	var rs []sarifResult
	for _, f := range sorted(fs) {
		text := strings.Join(lines(f.Text), "; ")
		if f.Path != "" {
			text = f.Path + ": " + text
		}
		r := sarifResult{RuleID: f.rule(), Level: "error", Message: sarifText{clean(text)}, Locations: sarifPlaces(f.Location), Related: sarifPlaces(f.Also...)}
		if f.Warning {
			r.Level = "warning"
		}
		rs = append(rs, r)
	}
	return writeSARIF(w, version, "vet", rs)
}

// rule is what a finding is about, by the first word of its path.
func (f LocatedFinding) rule() string {
	switch first, _, _ := strings.Cut(f.Path, "."); first {
	case "networks", "routers", "servers", "images", "pools", "services", "policy", "expect", "implied", "checks", "targets", "secrets":
		return first
	}
	return "lab"
}
