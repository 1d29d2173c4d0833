package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/guest/probe/spacetest"
	"github.com/labctl-dev/labctl/lab"
)

// replay asks everything within a scope.
func replay(t *testing.T, l lab.Lab, spaces *spacetest.Spaces, scope live.Scope) Result {
	t.Helper()
	p, err := reach.Prove(l)
	if err != nil {
		t.Fatal(err)
	}
	set, err := live.Questions(l, p, scope)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	r, err := Run(ctx, Options{Lab: l, Proof: p, Set: set, Shell: spaces.Shell, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs, %d questions, %d listeners, %s", len(live.Pairs(r.Verdicts)), len(r.Verdicts), r.Ports, time.Since(began).Round(time.Millisecond))
	return r
}

// failures are the verdicts that are no success, one line each.
func failures(r Result) []string {
	var out []string
	for _, v := range r.Verdicts {
		if v.Failed() {
			out = append(out, fmt.Sprintf("%s > %s %s: %s", v.From, v.To, v.Packet, v.Kind))
		}
	}
	return out
}

// TestAgrees: a lab built from the rulesets that were proven does what was proven.
func TestAgrees(t *testing.T) {
	spacetest.Need(t)
	l := deploy3(t)
	r := replay(t, l, spacetest.Build(t, l), live.Scope{})
	for _, v := range r.Verdicts {
		if v.Failed() {
			t.Errorf("%s > %s %s: %s: %s; the proof: %s by %v; counters %+v", v.From, v.To, v.Packet, v.Kind, v.Answer.Detail, v.Decision, v.Path, v.Counters)
		}
	}
	open := slices.DeleteFunc(slices.Clone(r.Verdicts), func(v live.Verdict) bool { return !v.Open })
	if len(open) == 0 || len(open) == len(r.Verdicts) {
		t.Errorf("%d of %d are open", len(open), len(r.Verdicts))
	}
	if !slices.ContainsFunc(open, func(v live.Verdict) bool { return v.To == "edge" && v.Answer.By == "web" && v.Packet.Dport == 8080 }) {
		t.Errorf("nobody was led to web by the published port")
	}
}

var _ = cmp.Diff
var _ = strings.Join
