package main

import (
	"context"

	"github.com/labctl-dev/labctl/check/live"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/lab"
)

// testApplied tests what a report says was changed; nil where there is nothing to ask, and then nobody is asked. A lab
// in which nothing is filtered has no policy to replay.
func (r *road) testApplied(ctx context.Context, report apply.Report, rf runFlags) (*view.TestResult, error) {
	about := r.changed(report)
	if r.engine.Guests == nil || rf.noTest || len(about) == 0 {
		return nil, nil
	}
	among, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	scope := live.Scope{About: about, Among: []string{}}
	filtered := false
	for _, m := range among { // apply --only may have left others unmade
		scope.Among = append(scope.Among, m.Name)
		filtered = filtered || m.Router || m.Firewall
	}
	for _, m := range r.lab.Machines {
		if m.External.IsValid() {
			scope.Among = append(scope.Among, m.Name)
		}
	}
	t, err := r.tester(testFlags{noReplay: !filtered, jobs: askers(), timeout: testTime}, scope)
	if err != nil || t.empty() {
		return nil, err
	}
	t.why = view.Testing(about, len(t.checks), len(t.set.Questions), t.set.Askers())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // the first signal, which so far lets changes come to a good end, ends a test
		select {
		case <-r.signals.graceful():
			cancel()
		case <-ctx.Done():
		}
	}()
	result, err := t.run(ctx)
	if err != nil {
		return nil, err
	}
	return &result, nil
}

// changed are the machines that something was done to, or to a network they are on.
func (r *road) changed(report apply.Report) []string {
	done := map[string]bool{}
	for _, x := range report.Results {
		if x.State != apply.Done || !x.Action.Puts() || x.Action == plan.Adopt {
			continue
		}
		done[x.Machine] = true
		if _, ok := r.lab.Network(x.Addr.Name); ok && x.Machine == "" {
			for _, m := range r.lab.Machines {
				if _, on := m.NIC(x.Addr.Name); on {
					done[m.Name] = true
				}
			}
		}
	}
	var out []string
	for _, m := range r.lab.Machines {
		if done[m.Name] && m.Power != lab.Off {
			out = append(out, m.Name)
		}
	}
	return out
}
