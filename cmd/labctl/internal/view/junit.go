package view

import (
	"encoding/xml"
	"fmt"
	"io"
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
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",cdata"`
}

// JUnit writes the same facts in the XML that continuous integration reads (the schema of Jenkins' JUnit plugin): one
// case for every pair of machines and every check; of a pair that failed one for every question that did. A failure is
// a lab that does something else; an error is what could not be asked.
func JUnit(w io.Writer, t TestResult) error {
	all := junitSuites{Name: printable(t.Lab + " on " + t.Target)}
	if t.Replay != nil {
		all.add("replay", replayCases(t.Replay))
	}
	if len(t.Checks) > 0 {
		all.add("checks", checkCases(t.Checks))
	}
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
		if p.Failed == 0 {
			out = append(out, c)
		}
		for _, v := range failed[[2]string{p.From, p.To}] {
			pr := &printer{}
			pr.disagreement(v)
			f := &junitFailure{Message: printable(string(v.Kind) + ": " + v.Answer.Detail), Text: printable(pr.b.String())}
			x := junitCase{Class: c.Class, Name: c.Name + ": " + flow(v)}
			if v.Disagrees() {
				x.Failure = f
			} else {
				x.Error = f
			}
			out = append(out, x)
		}
	}
	return out
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
