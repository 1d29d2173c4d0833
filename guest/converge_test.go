package guest_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// script is a machine that answers looks in turn (the last again and again) and remembers what was sent to it.
type script struct {
	looks []look
	n     int
	sent  string
	put   string // a document that was put in its place without starting anything
	run   string // the name of the run it was asked to start
	fail  error  // of the connection
	lose  int    // this many looks, after the first, lose the connection
	slow  time.Duration
}

// look is one answer to the question how the machine is.
type look struct {
	disabled, alive, fresh bool
	result                 string // of cloud-init; "" while it works
	stage                  string
	report, last           *guest.Report // Run "?" becomes the name of the run that was started
	document               string
}

func (s *script) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	if s.fail != nil {
		return guest.Output{}, s.fail
	}
	switch {
	case strings.Contains(cmd, "==disabled"):
		if s.n > 0 && s.lose > 0 {
			s.lose--
			return guest.Output{}, errors.New("connection lost")
		}
		l := s.looks[min(s.n, len(s.looks)-1)]
		s.n++
		if s.slow > 0 {
			select {
			case <-ctx.Done():
				return guest.Output{}, ctx.Err()
			case <-time.After(s.slow):
			}
		}
		return guest.Output{Stdout: []byte(l.text(s.run))}, nil
	case strings.Contains(cmd, "systemd-run"):
		b, err := io.ReadAll(stdin)
		_, after, _ := strings.Cut(cmd, "converge --run ")
		s.sent, s.run = string(b), strings.Fields(after)[0]
		return guest.Output{}, err
	case strings.Contains(cmd, "take() {"):
		b, err := io.ReadAll(stdin)
		s.put += string(b)
		return guest.Output{}, err
	case strings.Contains(cmd, "tail -n 20"):
		return guest.Output{Stdout: []byte("one\nlast words\n")}, nil
	}
	return guest.Output{}, nil
}

func (l look) text(run string) string {
	var b strings.Builder
	section := func(name, text string) { fmt.Fprintf(&b, "\n==%s\n%s\n", name, text) }
	yes := map[bool]string{true: "yes"}
	report := func(r *guest.Report) string {
		if r == nil {
			return ""
		}
		c := *r
		c.Run = strings.ReplaceAll(c.Run, "?", run)
		text, _ := json.Marshal(c)
		return string(text)
	}
	section("disabled", yes[l.disabled])
	section("result", l.result)
	section("status", `{"v1": {"stage": "`+l.stage+`"}}`)
	section("report", report(l.report))
	section("alive", yes[l.alive])
	section("last", report(l.last))
	section("fresh", yes[l.fresh])
	section("document", fmt.Sprintf("%x  /etc/labctl/guest.json", sha256.Sum256([]byte(l.document))))
	section("program", "")
	return b.String()
}

const (
	cloudDone   = `{"v1": {"datasource": "NoCloud", "errors": []}}`
	cloudFailed = `{"v1": {"datasource": "NoCloud", "errors": ["('ssh', ProcessExecutionError('no'))"]}}`
	userFailed  = `{"v1": {"datasource": "NoCloud", "errors": ["('scripts_user', RuntimeError('Runparts: 1 failures'))"]}}`
)

var seed = lab.Seed{Machine: "web", Guest: []byte("document"), Digest: "sha256:1"}

func booted(errs ...guest.Failure) *guest.Report {
	return &guest.Report{Run: "boot", State: "done", Digest: "sha256:1", OK: len(errs) == 0, Errors: errs}
}

func TestConverge(t *testing.T) {
	bad := guest.Failure{Item: "unit nginx", Error: "systemctl start failed", Output: "port is taken\nbye"}
	ran := func(errs ...guest.Failure) *guest.Report {
		return &guest.Report{Run: "?", State: "done", Digest: "sha256:1", OK: len(errs) == 0, Errors: errs}
	}
	running := &guest.Report{Run: "boot", State: "running", Phase: "packages", Done: 1, Total: 3}
	left := func(digest, state string, errs ...guest.Failure) *guest.Report {
		return &guest.Report{Run: "left", State: state, Phase: "packages", Digest: digest, OK: state == "done" && len(errs) == 0, Errors: errs}
	}
	ended := &guest.Report{Run: "left", State: "done", Digest: "sha256:0", Superseded: true}
	const waits = "a newer guest document waits until this step of the older one ends: packages; sending the guest document"
	for name, c := range map[string]struct {
		looks  []look
		sent   bool
		put    bool // before, for the run that is under way
		err    string
		phases string
	}{
		"first boot": {looks: []look{{stage: "modules-config"}, {report: running, alive: true}, {result: cloudDone, report: booted(), fresh: true, document: "document"}},
			phases: "cloud-init: config; packages"},
		"first boot taken before":    {looks: []look{{result: cloudDone, report: booted(), document: "document"}, {report: ran(), result: cloudDone}}, sent: true, phases: "sending the guest document"},
		"first boot, other document": {looks: []look{{result: cloudDone, report: booted(), fresh: true, document: "older"}, {report: ran(), result: cloudDone}}, sent: true, phases: "sending the guest document"},
		"after a reboot":             {looks: []look{{result: cloudDone, last: booted(), fresh: true, document: "document"}, {report: ran(), result: cloudDone}}, sent: true, phases: "sending the guest document"},
		"no cloud-init":              {looks: []look{{disabled: true}, {disabled: true, report: ran()}}, sent: true, phases: "sending the guest document"},
		"killed run":                 {looks: []look{{result: cloudDone, report: running}, {result: cloudDone, report: ran()}}, sent: true, phases: "sending the guest document"},
		"first boot failed": {looks: []look{{result: userFailed, report: booted(bad), fresh: true, document: "document"}},
			err: "web: unit nginx: systemctl start failed\n    port is taken\n    bye"},
		"failed, then mended": {looks: []look{{result: userFailed, report: booted(bad), document: "document"}, {result: userFailed, report: ran()}}, sent: true, phases: "sending the guest document"},
		"run fails":           {looks: []look{{result: cloudDone}, {result: cloudDone, report: ran(bad)}}, sent: true, err: "port is taken", phases: "sending the guest document"},
		"under way, the same document": {looks: []look{{result: cloudDone, report: left("sha256:1", "running"), alive: true, document: "document"},
			{result: cloudDone, report: left("sha256:1", "done"), document: "document"}}, phases: "packages"},
		"under way, the same document, fails now": {looks: []look{{result: cloudDone, report: left("sha256:1", "running"), alive: true, document: "document"},
			{result: cloudDone, report: left("sha256:1", "done", bad), document: "document"}}, err: "port is taken", phases: "packages"},
		"under way, the same document, had failed": {looks: []look{{result: cloudDone, report: left("sha256:1", "running", bad), alive: true, document: "document"},
			{result: cloudDone, report: left("sha256:1", "done", bad), document: "document"}, {result: cloudDone, report: ran()}}, sent: true, phases: "packages; sending the guest document"},
		"under way, an older document": {looks: []look{{result: cloudDone, report: left("sha256:0", "running"), alive: true, document: "older"},
			{result: cloudDone, report: ended, document: "document"}, {result: cloudDone, report: ran()}}, put: true, sent: true, phases: waits},
		"under way, another secret": {looks: []look{{result: cloudDone, report: left("sha256:1", "running"), alive: true, document: "older"},
			{result: cloudDone, report: left("sha256:1", "done"), document: "document"}, {result: cloudDone, report: ran()}}, put: true, sent: true, phases: waits},
		"first boot under way, an older document": {looks: []look{{report: &guest.Report{Run: "boot", State: "running", Phase: "packages", Digest: "sha256:0"}, alive: true, document: "older", fresh: true},
			{result: cloudDone, report: ended, document: "document", fresh: true}, {result: cloudDone, report: ran()}}, put: true, sent: true, phases: waits},
		"left halfway": {looks: []look{{result: cloudDone, report: &guest.Report{Run: "boot", State: "done", Digest: "sha256:1", Superseded: true}, document: "document", fresh: true},
			{result: cloudDone, report: ran()}}, sent: true, phases: "sending the guest document"},
		"cloud-init failed": {looks: []look{{result: cloudFailed}}, err: "web: cloud-init failed: ('ssh', ProcessExecutionError('no')); last lines of /var/log/cloud-init-output.log:\n    one\n    last words"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &script{looks: c.looks}
			var phases []string
			err := guest.Converge(t.Context(), s, seed, lab.Machine{Name: "web", Ready: lab.Duration(20 * time.Second)}, nil, func(p string, _, _ int64) { phases = append(phases, p) })
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if c.sent != strings.HasPrefix(s.sent, "document#!/usr/bin/env python3") {
				t.Errorf("sent %.40q", s.sent)
			}
			if want := map[bool]string{true: "document"}[c.put]; s.put != want {
				t.Errorf("put %.40q, want %q", s.put, want)
			}
			if got := strings.Join(phases, "; "); got != c.phases {
				t.Errorf("phases %q, want %q", got, c.phases)
			}
		})
	}
}

func TestDeadlineSaysWhatItWaitedFor(t *testing.T) {
	silent := func(string, int64, int64) {}
	m := lab.Machine{Name: "web", Ready: lab.Duration(300 * time.Millisecond)}
	for name, c := range map[string]struct {
		s    *script
		want string
	}{
		"cloud-init": {&script{looks: []look{{stage: "init"}}}, "web is not ready after 300ms (servers.web.ready); it was at cloud-init: init"},
		"no answer":  {&script{looks: []look{{}}, slow: time.Minute}, "it was at the first answer (cannot ask web for its state"},
	} {
		_, err := guest.Wait(t.Context(), c.s, m, silent)
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := guest.Wait(ctx, &script{looks: []look{{stage: "init"}}}, lab.Machine{Name: "web"}, silent)
	if err == nil || !strings.Contains(err.Error(), "waiting for cloud-init: init") {
		t.Error(err)
	}
	if _, err := guest.Wait(t.Context(), &script{looks: []look{{stage: "init"}, {result: cloudDone}}, lose: 2}, lab.Machine{Name: "web"}, silent); err != nil {
		t.Errorf("a connection lost in the middle: %v", err)
	}
	gone := errors.New("connection lost")
	if _, err := guest.Wait(t.Context(), &script{fail: gone}, m, silent); !errors.Is(err, gone) {
		t.Error(err)
	}
}
