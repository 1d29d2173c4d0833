package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// state is what one look into a machine tells.
type state struct {
	disabled bool
	result   *cloudResult // nil while cloud-init works
	stage    string       // of cloud-init
	report   *Report      // of a run since power-on
	alive    bool         // report.PID is a process
	last     *Report      // of the last run that ended, perhaps before a reboot
	fresh    bool         // nobody took the boot run's report yet
	document string       // sha256 of DocumentPath, hex; "" if there is none
	program  string       // sha256 of ProgramPath
}

// cloudResult is /run/cloud-init/result.json, the same since cloud-init 0.7.
type cloudResult struct {
	V1 struct {
		Datasource string   `json:"datasource"`
		Errors     []string `json:"errors"`
	} `json:"v1"`
}

// look prints a section for each part of state. cloud-init's files are read rather than `cloud-init status` asked,
// because that is a Python program of its own and takes seconds from a slow machine that is booting.
// It returns early, when cloud-init or a run ends, so that the caller need not ask often.
const look = `
report() { cat ` + ReportPath + ` 2>/dev/null; }
busy() { [ ! -e ` + resultPath + ` ] && [ ! -e ` + disabledPath + ` ] || report | grep -q '"state": "running"'; }
first=$(report | grep '"phase"'; cat ` + statusPath + ` 2>/dev/null | grep '"stage"')
n=0; while [ $n -lt 4 ] && busy && [ "$first" = "$(report | grep '"phase"'; cat ` + statusPath + ` 2>/dev/null | grep '"stage"')" ]; do sleep 0.5; n=$((n+1)); done
echo; echo "==disabled"; [ -e ` + disabledPath + ` ] && echo yes
echo; echo "==result"; cat ` + resultPath + ` 2>/dev/null
echo; echo "==status"; cat ` + statusPath + ` 2>/dev/null
echo; echo "==report"; report
echo; echo "==alive"; p=$(report | sed -n 's/^ *"pid": \([0-9]*\).*/\1/p'); [ -n "$p" ] && [ -d /proc/$p ] && echo yes
echo; echo "==last"; cat ` + LastPath + ` 2>/dev/null
echo; echo "==fresh"; [ -e ` + seenPath + ` ] || echo yes
echo; echo "==document"; sha256sum ` + DocumentPath + ` 2>/dev/null
echo; echo "==program"; sha256sum ` + ProgramPath + ` 2>/dev/null
true`

func inspect(ctx context.Context, sh Shell, m string) (state, error) {
	out, err := run(ctx, sh, "ask "+m+" for its state", look, nil)
	if err != nil {
		return state{}, err
	}
	return parseState(string(out))
}

func parseState(out string) (state, error) {
	part := map[string]string{}
	name := ""
	for _, line := range strings.SplitAfter(out, "\n") {
		if s, ok := strings.CutPrefix(line, "=="); ok {
			name = strings.TrimSpace(s)
		} else {
			part[name] += line
		}
	}
	yes := func(k string) bool { return strings.TrimSpace(part[k]) == "yes" }
	hash := func(k string) string { h, _, _ := strings.Cut(strings.TrimSpace(part[k]), " "); return h }
	s := state{
		disabled: yes("disabled"), alive: yes("alive"), fresh: yes("fresh"),
		document: hash("document"), program: hash("program"),
	}
	var status struct {
		V1 struct {
			Stage string `json:"stage"`
		} `json:"v1"`
	}
	for _, p := range []struct {
		name string
		into any
	}{{"result", &s.result}, {"status", &status}, {"report", &s.report}, {"last", &s.last}} {
		if strings.TrimSpace(part[p.name]) == "" {
			continue
		}
		// A file caught while it is being replaced by one of cloud-init's writers reads as nothing; a result that
		// stays unreadable runs into the caller's deadline.
		if err := json.Unmarshal([]byte(part[p.name]), p.into); err != nil && p.name == "last" {
			return state{}, fmt.Errorf("%s is unreadable: %w", LastPath, err)
		}
	}
	s.stage = strings.TrimPrefix(status.V1.Stage, "modules-")
	return s, nil
}

// doing says what the machine is busy with, "" if nothing.
func (s state) doing() (phase string, done, total int64) {
	switch {
	case s.report != nil && s.report.State == "running" && s.alive:
		return s.report.Phase, s.report.Done, s.report.Total
	case s.disabled || s.result != nil:
		return "", 0, 0
	case s.stage != "":
		return "cloud-init: " + s.stage, 0, 0
	}
	return "cloud-init", 0, 0
}

// Wait waits until cloud-init and the converging program have nothing more to do in m, at most m.Ready. It returns
// the report of the last run that ended. It is an error if cloud-init failed, with the module and its last lines, or
// if that run did.
func Wait(ctx context.Context, sh Shell, m lab.Machine, p Progress) (Report, error) {
	s, err := settled(ctx, sh, m, p, nil)
	if err != nil {
		return Report{}, err
	}
	r := Report{}
	switch {
	case s.report != nil:
		r = *s.report
	case s.last != nil:
		r = *s.last
	}
	if err := r.err(m.Name); err != nil {
		return r, err
	}
	return r, nil
}

// settled waits until nothing is under way in m, and fails if cloud-init did; how the last run ended is not judged. n, unless
// nil, is told what is under way.
func settled(ctx context.Context, sh Shell, m lab.Machine, p Progress, n *newcomer) (state, error) {
	ctx, cancel := limit(ctx, m)
	defer cancel()
	began, answered := time.Now(), time.Time{}
	phase := "the first answer"
	for {
		s, err := inspect(ctx, sh, m.Name)
		if err != nil {
			// A boot may restart sshd or the network. Before the first answer it is the Shell's to be patient.
			if lost := !answered.IsZero() && time.Since(answered) < time.Minute; lost && pause(ctx) == nil {
				continue
			}
			return s, overtime(ctx, err, m, phase, began)
		}
		answered = time.Now()
		var done, total int64
		phase, done, total = s.doing()
		if phase == "" {
			return s, s.cloudError(ctx, sh, m)
		}
		if n != nil {
			phase = n.meet(ctx, s, phase)
		}
		p(phase, done, total)
		if err := pause(ctx); err != nil {
			return s, overtime(ctx, err, m, phase, began)
		}
	}
}

// cloudError is what went wrong in cloud-init itself: failed modules other than the one that only ran our program,
// whose report says more.
func (s state) cloudError(ctx context.Context, sh Shell, m lab.Machine) error {
	if s.disabled || s.result == nil {
		return nil // an image whose cloud-init has been turned off: then the program's report must do
	}
	var failed []string
	for _, e := range s.result.V1.Errors {
		ours := strings.Contains(e, "scripts_user") || strings.Contains(e, "scripts-user")
		if !ours || s.report == nil && s.last == nil {
			failed = append(failed, e)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	tail, err := run(ctx, sh, "read "+outputLog, "tail -n 20 "+outputLog, nil)
	if err != nil {
		tail = []byte(err.Error())
	}
	return fmt.Errorf("%s: cloud-init failed: %s; last lines of %s:\n    %s", m.Name, strings.Join(failed, "; "),
		outputLog, strings.ReplaceAll(lastLines(tail), "\n", "\n    "))
}

// limit is ctx with the time a machine may take.
func limit(ctx context.Context, m lab.Machine) (context.Context, context.CancelFunc) {
	if m.Ready <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, time.Duration(m.Ready), errReady)
}

var errReady = fmt.Errorf("ready: no longer allowed: %w", context.DeadlineExceeded)

// overtime makes err, which ended a wait, say what was waited for.
func overtime(ctx context.Context, err error, m lab.Machine, phase string, began time.Time) error {
	if ctx.Err() == nil {
		return err
	}
	why := "" // how far the connection came
	if err != ctx.Err() {
		why = " (" + err.Error() + ")"
	}
	if context.Cause(ctx) == errReady {
		return fmt.Errorf("%s is not ready after %s (%s.ready); it was at %s%s: %w", m.Name, time.Duration(m.Ready), m.Path(), phase, why, context.DeadlineExceeded)
	}
	return fmt.Errorf("%s: gave up after %s waiting for %s%s: %w", m.Name, time.Since(began).Round(time.Second), phase, why, ctx.Err())
}

// pause leaves a moment between two looks, which wait inside the machine as well.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(300 * time.Millisecond):
		return nil
	}
}
