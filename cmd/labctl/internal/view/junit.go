package view

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/labctl-dev/labctl/check/live"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Failure *junitFailure `xml:"failure"`
	Error   *junitFailure `xml:"error"`
	Out     string        `xml:"system-out,omitempty"` // what is worth knowing, and wrong is nothing
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",cdata"`
}

// JUnit writes the same facts in the XML that continuous integration reads (the schema of Jenkins' JUnit plugin): one
// case for every ordered pair of machines and every check, with all that failed of it in the text. A failure is a lab
// that does something else; an error is what could not be asked, where nothing else is wrong.
func JUnit(w io.Writer, t TestResult) error {
	all := junitSuites{Name: printable(t.Lab + " on " + t.Target)}
	if t.Replay != nil {
		all.add("replay", replayCases(t.Replay))
	}
	if len(t.Checks) > 0 {
		all.add("checks", checkCases(t.Checks))
	}
	return all.write(w)
}

func (all junitSuites) write(w io.Writer) error {
	b, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write JUnit XML: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, b); err != nil {
		return fmt.Errorf("cannot write JUnit XML: %w", err)
	}
	return nil
}

func (all *junitSuites) add(name string, cases []junitCase) {
	s := junitSuite{Name: name, Tests: len(cases), Cases: cases}
	for _, c := range cases {
		if c.Failure != nil {
			s.Failures++
		}
		if c.Error != nil {
			s.Errors++
		}
	}
	all.Tests, all.Failures, all.Errors = all.Tests+s.Tests, all.Failures+s.Failures, all.Errors+s.Errors
	all.Suites = append(all.Suites, s)
}

func replayCases(r *ReplayResult) []junitCase {
	failed := map[[2]string][]live.Verdict{}
	for _, v := range r.Failed {
		failed[[2]string{v.From, v.To}] = append(failed[[2]string{v.From, v.To}], v)
	}
	var out []junitCase
	for _, p := range r.Pairs {
		c := junitCase{Class: "replay." + p.From, Name: p.From + " to " + p.To}
		all := failed[[2]string{p.From, p.To}]
		f := &junitFailure{Message: printable(kinds(all)), Text: printable(told(all))}
		switch {
		case len(all) == 0:
		case slices.ContainsFunc(all, live.Verdict.Disagrees):
			c.Failure = f
		default:
			c.Error = f
		}
		out = append(out, c)
	}
	return out
}

// failures are the kinds of verdicts that are no success, the worst first.
var failures = [...]live.Kind{live.Open, live.Blocked, live.Elsewhere, live.Unanswered}

// kinds says how many verdicts there are of each kind.
func kinds(all []live.Verdict) string {
	var parts []string
	for _, k := range failures {
		if n := len(ofKind(all, k)); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
		}
	}
	return strings.Join(parts, ", ")
}

// told is all that people are told of verdicts, and nothing left out.
func told(all []live.Verdict) string {
	pr := &printer{}
	for _, k := range failures {
		for i, g := range live.Groups(ofKind(all, k)) {
			if i == 0 {
				pr.line(0, 2, text(upper(string(k))))
			}
			pr.group(g, len(g.Verdicts))
		}
	}
	return pr.b.String()
}

func checkCases(all []CheckResult) []junitCase {
	var out []junitCase
	for _, c := range all {
		x := junitCase{Class: "checks." + c.Check.From, Name: printable(c.Check.Name)}
		switch {
		case c.Error != "":
			x.Error = &junitFailure{Message: "not asked", Text: printable(c.Error)}
		case !c.OK:
			x.Failure = &junitFailure{Message: printable(c.Got), Text: printable(wanted(c.Check) + "\ngot: " + c.Got)}
		}
		out = append(out, x)
	}
	return out
}

// printable leaves out what XML 1.0 cannot hold.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) || r == 0xfffe || r == 0xffff {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}
