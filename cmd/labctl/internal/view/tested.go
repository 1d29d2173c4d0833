package view

import (
	"fmt"
	"sort"
	"strings"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/lab"
)

// TestResult is what came of asking a running lab.
type TestResult struct {
	Lab    string        `json:"lab"`
	Target string        `json:"target"`
	OK     bool          `json:"ok"`             // the lab does what was proven, its checks hold, and all could be asked
	Away   []AwayMachine `json:"away,omitempty"` // that should be there and could not be asked, by name
	Replay *ReplayResult `json:"replay,omitempty"`
	Checks []CheckResult `json:"checks,omitempty"`
}

// AwayMachine is a machine that could not be asked.
type AwayMachine struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// ReplayResult is the questions of the proof against the running lab.
type ReplayResult struct {
	Pairs     []live.Pair    `json:"pairs"`
	Services  []lab.Service  `json:"services"` // declared
	Ports     int            `json:"ports"`    // that were asked: of the services, and the samples of what nobody declared
	Questions int            `json:"questions"`
	IPv6      int            `json:"ipv6"` // of the questions
	Open      int            `json:"open"` // of the questions: proven open
	Agree     int            `json:"agree"`
	Disagree  int            `json:"disagree"`
	Unasked   int            `json:"unasked"`
	Exempt    int            `json:"exempt"`              // asked of services whose answers say nothing
	Reasons   []Reasoned     `json:"reasons,omitempty"`   // of those that are exempt
	Off       []string       `json:"off,omitempty"`       // machines that are to be off
	Adopted   []string       `json:"adopted,omitempty"`   // adopted and external machines
	World     int            `json:"world,omitempty"`     // flows with the world, which are not asked
	Undecided int            `json:"undecided,omitempty"` // left out: the source port decides
	Failed    []live.Verdict `json:"failed,omitempty"`    // disagreements, and what could not be asked
}

// Reasoned is how many questions have one reason.
type Reasoned struct {
	Why   string `json:"why"`
	Count int    `json:"count"`
}

// CheckResult is what came of one declared check.
type CheckResult struct {
	Check lab.Check `json:"check"`
	OK    bool      `json:"ok"`
	Got   string    `json:"got,omitempty"`
	Tries int       `json:"tries,omitempty"`
	Error string    `json:"error,omitempty"` // it could not be asked
}

// Testing says, before it is done, what is asked because these machines were changed.
func Testing(changed []string, checks, questions, askers int) string {
	var parts []string
	if checks > 0 {
		parts = append(parts, plural(checks, "check"))
	}
	if questions > 0 {
		parts = append(parts, fmt.Sprintf("%s of the proof from %s", plural(questions, "question"), plural(askers, "machine")))
	}
	return fmt.Sprintf("testing what was changed (%s): %s; --no-test leaves it out", some(changed), strings.Join(parts, ", "))
}

// Replayed sums verdicts up.
func Replayed(set live.Set, verdicts []live.Verdict) *ReplayResult {
	r := &ReplayResult{Pairs: live.Pairs(verdicts), Services: set.Services, Questions: len(verdicts), Off: set.Off, Adopted: set.Adopted, World: set.World, Undecided: set.Undecided}
	ports := map[string]bool{}
	why := map[string]int{}
	for _, v := range verdicts {
		ports[fmt.Sprint(v.Packet.Proto, v.Packet.Dport)] = true
		if v.Packet.Dst.Is6() {
			r.IPv6++
		}
		if v.Open {
			r.Open++
		}
		switch {
		case v.Disagrees():
			r.Disagree++
		case v.Kind == live.Unanswered:
			r.Unasked++
		case v.Kind == live.Exempted:
			r.Exempt++
			why[v.Answer.Detail]++
		default:
			r.Agree++
		}
		if v.Failed() {
			r.Failed = append(r.Failed, v)
		}
	}
	r.Ports = len(ports)
	r.Reasons = reasoned(why)
	return r
}

// reasoned are reasons, the most frequent first.
func reasoned(why map[string]int) []Reasoned {
	var out []Reasoned
	for w, n := range why {
		out = append(out, Reasoned{w, n})
	}
	sort.Slice(out, func(i, j int) bool {
		return out[i].Count > out[j].Count || out[i].Count == out[j].Count && out[i].Why < out[j].Why
	})
	return out
}

// Wrong is what is wrong in one line, "" if nothing is.
func (t TestResult) Wrong() string {
	var parts []string
	add := func(n int, thing, rest string) {
		if n > 0 {
			parts = append(parts, plural(n, thing)+rest)
		}
	}
	if r := t.Replay; r != nil {
		add(r.Disagree, "flow", " not as proven")
		add(r.Unasked, "question", " that could not be asked")
	}
	broken, unasked := 0, 0
	for _, c := range t.Checks {
		switch {
		case c.Error != "":
			unasked++
		case !c.OK:
			broken++
		}
	}
	if broken == 1 {
		parts = append(parts, "1 check does not hold")
	} else {
		add(broken, "check", " do not hold")
	}
	add(unasked, "check", " that could not be asked")
	return strings.Join(parts, ", ")
}

// wanted is what a check asks, and what it wants.
func wanted(c lab.Check) string {
	switch {
	case c.TCP != nil && c.TCP.Refused:
		return fmt.Sprintf("tcp %s:%d accepts no connection", c.TCP.To, c.TCP.Port)
	case c.TCP != nil:
		return fmt.Sprintf("tcp %s:%d accepts connections", c.TCP.To, c.TCP.Port)
	case c.HTTP != nil:
		s := fmt.Sprintf("%s: status %d", c.HTTP.URL, c.HTTP.Status)
		if c.HTTP.Body != "" {
			s += fmt.Sprintf(", body with %q", c.HTTP.Body)
		}
		return s
	case c.DNS != nil:
		s := fmt.Sprintf("dns %s %s", c.DNS.Type, c.DNS.Name)
		if c.DNS.Server != "" {
			s += " at " + c.DNS.Server
		}
		if len(c.DNS.Answer) == 0 {
			return s + ": no such name"
		}
		return s + ": " + strings.Join(c.DNS.Answer, ", ")
	case c.Command != nil:
		s := fmt.Sprintf("%q: exit status %d", c.Command.Run, c.Command.Exit)
		if c.Command.Output != "" {
			s += fmt.Sprintf(", output with %q", c.Command.Output)
		}
		return s
	}
	return ""
}
