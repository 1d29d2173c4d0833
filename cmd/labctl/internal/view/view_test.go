package view

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// golden compares what render writes with testdata/<name>.golden. Escape codes are written as "␛" there.
func golden(t *testing.T, name string, got string) {
	t.Helper()
	got = strings.ReplaceAll(got, "\x1b", "␛")
	goldentest.File(t, filepath.Join("testdata", name+".golden"), got)
}

// checkWidth fails if a line is wider than width, or ends in a blank.
func checkWidth(t *testing.T, s string, width int) {
	t.Helper()
	for _, l := range strings.Split(s, "\n") {
		if width > 0 && columns(l) > width {
			t.Errorf("%d columns, more than %d: %q", columns(l), width, l)
		}
		if strings.TrimRight(l, " ") != l {
			t.Errorf("ends in a blank: %q", l)
		}
	}
}

var screens = []struct {
	name string
	o    Options
}{{"wide", Options{Width: 110}}, {"narrow", Options{Width: 40}}, {"color", Options{Color: true}}}

func TestViews(t *testing.T) {
	for _, c := range []struct {
		name   string
		render func(io.Writer, Options) error
	}{
		{"plan", func(w io.Writer, o Options) error { return Plan(w, bigPlan(), o) }},
		{"plan_empty", func(w io.Writer, o Options) error { return Plan(w, plan.Plan{Lab: "quickstart", Target: "local"}, o) }},
		{"plan_destroy", func(w io.Writer, o Options) error { return Plan(w, destroyPlan(), o) }},
		{"drift", func(w io.Writer, o Options) error { return Drift(w, bigPlan(), inside(), o) }},
		{"drift_none", func(w io.Writer, o Options) error {
			return Drift(w, plan.Plan{Lab: "quickstart", Target: "local"}, map[string][]guest.Difference{"web": nil, "db": nil}, o)
		}},
		{"report", func(w io.Writer, o Options) error { return Report(w, badReport(), o) }},
		{"report_good", func(w io.Writer, o Options) error { return Report(w, goodReport(), o) }},
		{"report_empty", func(w io.Writer, o Options) error {
			return Report(w, apply.Report{Lab: "quickstart", Target: "local"}, o)
		}},
		{"status", func(w io.Writer, o Options) error { return Status(w, labStatus(), o) }},
		{"status_empty", func(w io.Writer, o Options) error {
			return Status(w, LabStatus{Lab: "quickstart", Target: "local"}, o)
		}},
		{"doctor", func(w io.Writer, o Options) error { return Doctor(w, diagnoses(), o) }},
		{"images", func(w io.Writer, o Options) error { return Images(w, images(), o) }},
		{"snapshots", func(w io.Writer, o Options) error { return Snapshots(w, "quickstart", snapshots(), o) }},
		{"snapshots_none", func(w io.Writer, o Options) error { return Snapshots(w, "quickstart", nil, o) }},
		{"versions", func(w io.Writer, o Options) error { return Versions(w, versions(), o) }},
	} {
		for _, s := range screens {
			t.Run(c.name+"_"+s.name, func(t *testing.T) {
				var b bytes.Buffer
				if err := c.render(&b, s.o); err != nil {
					t.Fatal(err)
				}
				if !s.o.Color {
					checkWidth(t, b.String(), s.o.Width)
				}
				golden(t, c.name+"_"+s.name, b.String())
			})
		}
	}
}

func TestFindings(t *testing.T) {
	fs := []LocatedFinding{
		{Location: Location{"lab.cue", 12, 3}, Path: "servers.web.nics.office.ip", Text: "10.20.1.1 is not in 10.20.0.0/24", Also: []Location{{"nets.cue", 2, 9}}},
		{Location: Location{"lab.cue", 2, 1}, Text: "expected '}'\nfound 'EOF'"},
		{Location: Location{File: "lab.cue"}, Path: "servers", Text: "is empty", Warning: true},
		{Text: "no place at all"},
	}
	for _, color := range []bool{false, true} {
		var b bytes.Buffer
		if err := Findings(&b, fs, Options{Color: color, Width: 20}); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("findings_color_%v", color), b.String())
	}
	if fs[0].Line != 12 {
		t.Error("the caller's findings were sorted in place")
	}
}

func TestMarkdown(t *testing.T) {
	for name, p := range map[string]plan.Plan{"markdown": bigPlan(), "markdown_empty": {Lab: "quickstart", Target: "local"}, "markdown_destroy": destroyPlan()} {
		var b bytes.Buffer
		if err := PlanMarkdown(&b, p); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.String())
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, DriftFacts{Plan: bigPlan(), Inside: inside()}); err != nil {
		t.Fatal(err)
	}
	golden(t, "json", b.String())
	if err := JSON(&b, func() {}); err == nil {
		t.Error("a function became JSON")
	}
}

// TestHuge renders a thousand machines: the summary stays one readable line, and it does not take forever.
func TestHuge(t *testing.T) {
	var p plan.Plan
	var r apply.Report
	for i := range 1000 {
		m := fmt.Sprintf("m%04d", i)
		a := addr("machine", m)
		p.Changes = append(p.Changes, plan.Change{Addr: a, Machine: m, Action: plan.Delete, DataLoss: true, CutOff: []string{m}})
		r.Results = append(r.Results, apply.Result{Addr: a, Action: plan.Delete, State: apply.Skipped, Error: "not started: qemu.network/lan failed"})
	}
	began := time.Now()
	for _, render := range []func(io.Writer) error{
		func(w io.Writer) error { return Plan(w, p, Options{}) },
		func(w io.Writer) error { return Report(w, r, Options{}) },
		func(w io.Writer) error { return Drift(w, p, nil, Options{}) },
		func(w io.Writer) error { return PlanMarkdown(w, p) },
	} {
		var b bytes.Buffer
		if err := render(&b); err != nil {
			t.Fatal(err)
		}
		for _, l := range strings.Split(b.String(), "\n") {
			if len(l) > 600 {
				t.Errorf("a line of %d bytes: %s…", len(l), l[:200])
			}
		}
	}
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("took %s", d)
	}
}

// TestHostile checks that text from guests and plugins cannot drive the terminal.
func TestHostile(t *testing.T) {
	evil := "a\x1b[2J\x07b\u202ec\xff\nsecond"
	r := apply.Report{Results: []apply.Result{{Addr: addr("machine", evil), State: apply.Failed, Error: evil}, {Addr: addr("machine", "x"), State: apply.Skipped, Error: evil}}}
	p := plan.Plan{Lab: evil, Changes: []plan.Change{{Addr: addr("machine", evil), Machine: evil, Action: plan.Update, Refused: evil,
		Reasons: []plan.Reason{{Attr: evil, Before: evil, After: []any{evil}}}}}}
	var b bytes.Buffer
	for _, err := range []error{
		Report(&b, r, Options{Width: 30}), Plan(&b, p, Options{Width: 30}), Plan(&b, p, Options{}), PlanMarkdown(&b, p),
		Drift(&b, p, map[string][]guest.Difference{evil: {{Item: evil, What: evil}}}, Options{}),
		Findings(&b, []LocatedFinding{{Location: Location{evil, 1, 1}, Path: evil, Text: evil}}, Options{}),
		Status(&b, LabStatus{Lab: evil, Machines: []MachineStatus{{Name: evil, Detail: evil, Addresses: []string{evil}}}}, Options{}),
		Doctor(&b, []provider.Diagnosis{{Name: evil, Detail: evil, Fix: evil}}, Options{}),
		Images(&b, []Image{{Name: evil, Problem: evil}}, Options{}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"\x1b", "\x07", "\u202e", "\xff"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("%q came through:\n%q", bad, b.String())
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWriteError(t *testing.T) {
	for i, err := range []error{
		Plan(full{}, bigPlan(), Options{}), PlanMarkdown(full{}, bigPlan()), Drift(full{}, bigPlan(), nil, Options{}), Report(full{}, badReport(), Options{}),
		Findings(full{}, []LocatedFinding{{}}, Options{}), Status(full{}, labStatus(), Options{}), Doctor(full{}, diagnoses(), Options{}),
		Images(full{}, images(), Options{}), Versions(full{}, versions(), Options{}), JSON(full{}, 1),
	} {
		if err == nil {
			t.Errorf("function %d hides the writer's error", i)
		}
	}
}

func addr(kind, name string) provider.Addr {
	return provider.Addr{Provider: "qemu", Kind: kind, Name: name}
}

func attrs(t string) provider.Attrs {
	a, err := provider.Encode(rawJSON(t))
	if err != nil {
		panic(err)
	}
	return a
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// bigPlan has one change of every sort.
func bigPlan() plan.Plan {
	root := addr("disk", "web/root")
	sha := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	return plan.Plan{Lab: "quickstart", Target: "local", Unchanged: 12, Desired: sha("a"), World: sha("b"),
		Changes: []plan.Change{
			{Addr: addr("network", "office"), Action: plan.Create, After: &provider.Resource{Addr: addr("network", "office"),
				Attrs: attrs(`{"cidr":"10.20.0.0/24","mtu":1500,"isolated":true,"lab":"quickstart","name":"office","source":{"min_disk":1073741824}}`)}},
			{Addr: addr("network", "old"), Action: plan.Delete, CutOff: []string{"db"}},
			{Addr: addr("disk", "db/data"), Machine: "db", Action: plan.Update, Impact: provider.Live,
				Reasons: []plan.Reason{{Attr: "size", Before: float64(10 << 30), After: float64(20 << 30), Impact: provider.Live}}},
			{Addr: root, Machine: "web", Action: plan.Replace, Impact: provider.Reinstall, DataLoss: true, CutOff: []string{"web"}, Refused: "qemu.disk/web/root would be lost: reinstall",
				Reasons: []plan.Reason{{Attr: "image", Before: sha("1"), After: sha("2"), Impact: provider.Reinstall}}},
			{Addr: addr("machine", "cache"), Machine: "cache", Action: plan.Create, After: &provider.Resource{
				Attrs: attrs(`{"cpus":2,"memory":536870912,"power":"on","nics":[{"network":"office","mac":"02:aa:bb:cc:dd:ee","addr":"10.20.0.77"},{"network":"lan","mac":"02:aa:bb:cc:dd:ef"}],"disks":["root"]}`)}},
			{Addr: addr("machine", "db"), Machine: "db", Action: plan.Update, Impact: provider.Reboot, CutOff: []string{"db"},
				Reasons: []plan.Reason{
					{Attr: "memory", Before: float64(500 << 20), After: float64(1 << 30), Impact: provider.Reboot},
					{Attr: "motd", Before: "hello world", After: "one\ntwo\nthree\n", Impact: provider.Reconfigure},
					{Attr: "nics", Impact: provider.Live,
						Before: attrs(`{"x":[{"network":"lan","mac":"02:01"},{"network":"old","mac":"02:02","addr":"10.9.0.5"}]}`)["x"],
						After:  attrs(`{"x":[{"network":"office","mac":"02:03","addr":"10.20.0.11"},{"network":"lan","mac":"02:01","link":"down"}]}`)["x"]},
					{Attr: "tags", Before: attrs(`{"x":["a","b","c"]}`)["x"], After: attrs(`{"x":["b","c","d"]}`)["x"], Impact: provider.Live},
				}},
			{Addr: addr("machine", "gone"), Machine: "gone", Action: plan.Delete, CutOff: []string{"gone"}, Refused: "qemu.machine/gone is protected"},
			{Addr: addr("machine", "web"), Machine: "web", Action: plan.Replace, Impact: provider.Reinstall, CutOff: []string{"web"},
				Reasons: []plan.Reason{{Because: &root, Impact: provider.Reinstall}}},
			{Addr: addr("guest", "cache"), Machine: "cache", Action: plan.Create, After: &provider.Resource{Attrs: attrs(`{"digest":"` + sha("3") + `"}`)}},
			{Addr: addr("guest", "db"), Machine: "db", Action: plan.Update, Impact: provider.Reconfigure,
				Reasons: []plan.Reason{{Attr: "digest", Before: sha("4"), After: sha("5"), Impact: provider.Reconfigure}}},
		},
		Deferred: []plan.Deferred{{Addr: addr("guest", "spare"), Why: "machine spare is to be off"}},
	}
}

func destroyPlan() plan.Plan {
	return plan.Plan{Lab: "quickstart", Target: "local", Destroy: true, Changes: []plan.Change{
		{Addr: addr("network", "office"), Action: plan.Delete, CutOff: []string{"web"}},
		{Addr: addr("disk", "web/root"), Machine: "web", Action: plan.Delete, DataLoss: true, CutOff: []string{"web"}},
		{Addr: addr("machine", "web"), Machine: "web", Action: plan.Delete, CutOff: []string{"web"}},
	}}
}

func inside() map[string][]guest.Difference {
	return map[string][]guest.Difference{
		"web":  {{Item: "file /etc/motd", What: "content, mode"}, {Item: "package nginx", What: "not installed"}},
		"mail": {{Item: "unit postfix.service", What: "stopped"}},
		"db":   nil,
	}
}

func snapshots() []provider.Snapshot {
	at := time.Date(2026, 11, 20, 9, 5, 30, 0, time.UTC)
	return []provider.Snapshot{
		{Name: "fresh", Taken: at, Note: "as made", Machines: []string{"db", "gate", "web"}, Size: 12 * lab.MiB, Complete: true},
		{Name: "exercise-2", Taken: at.Add(26 * time.Hour), Note: "two\nlines", Machines: []string{"db", "gate", "web"}},
	}
}

func badReport() apply.Report {
	result := func(kind, name string, a plan.Action, s apply.State, why string) apply.Result {
		return apply.Result{Addr: addr(kind, name), Action: a, State: s, Error: why}
	}
	return apply.Report{Lab: "quickstart", Target: "local", Unsettled: []provider.Addr{addr("network", "lan")}, Results: []apply.Result{
		result("network", "lan", plan.Create, apply.Done, ""),
		result("disk", "web/root", plan.Update, apply.Done, ""),
		result("machine", "web", plan.Create, apply.Failed, "cannot create qemu.machine/web: not done after 5m0s; it was booting: the guest did not answer\nlast lines of its console:\n  [  12.1] Kernel panic - not syncing\n"),
		result("machine", "db", plan.Create, apply.Failed, ""),
		result("guest", "web", plan.Create, apply.Skipped, "not started: qemu.machine/web failed"),
		result("guest", "db", plan.Create, apply.Skipped, "not started: qemu.machine/db failed"),
		result("guest", "web2", plan.Create, apply.Skipped, "not started: qemu.machine/web failed"),
	}}
}

func goodReport() apply.Report {
	return apply.Report{Lab: "quickstart", Target: "local", Results: []apply.Result{
		{Addr: addr("network", "lan"), Action: plan.Create, State: apply.Done},
		{Addr: addr("machine", "web"), Action: plan.Replace, State: apply.Done},
		{Addr: addr("machine", "db"), Action: plan.Update, State: apply.Done},
	}}
}

func labStatus() LabStatus {
	return LabStatus{Lab: "quickstart", Target: "local",
		Machines: []MachineStatus{
			{Name: "cache", Power: "absent", Changes: 3},
			{Name: "db", Power: "on", Addresses: []string{"10.20.0.77"}, Uptime: 26*time.Hour + 3*time.Minute, Health: "healthy", Pending: provider.Reboot, Changes: 1},
			{Name: "old", Power: "on", Addresses: []string{"10.20.0.9"}, Uptime: 45 * time.Second, Changes: 2, Extra: true},
			{Name: "web", Power: "on", Addresses: []string{"10.0.2.15", "10.20.0.10", "fd00::10"}, Uptime: 192 * time.Second, Health: "unhealthy",
				Detail: "cloud-init failed in module package_update_upgrade_install\nE: Unable to locate package ngnix"},
			{Name: "spare", Power: "off"},
		},
		Networks: []NetworkStatus{
			{Name: "lan", CIDR: "10.0.2.0/24", Uplink: true, State: "up", Ports: 2},
			{Name: "office", CIDR: "10.20.0.0/24", State: "down", Ports: 0, Changes: 1, Detail: "the network process is not running"},
		}}
}

func diagnoses() []provider.Diagnosis {
	return []provider.Diagnosis{
		{Name: "accelerator", Status: provider.Warning, Detail: "tcg: /dev/kvm is there, but a test guest did not start within 3s", Fix: "sudo usermod -aG kvm $USER"},
		{Name: "qemu", Status: provider.Good, Detail: "7.2.22 (/usr/bin/qemu-system-x86_64)"},
		{Name: "firmware", Status: provider.Broken, Detail: "no UEFI firmware found for amd64", Fix: "sudo apt-get update\nsudo apt-get install ovmf"},
		{Name: "disk space", Status: provider.Good, Detail: "31.2GiB free in the labctl folder"},
	}
}

func images() []Image {
	return []Image{
		{Name: "debian-12", Arch: lab.AMD64, State: "ready", Size: 333447168, Source: "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-genericcloud-amd64.qcow2", Digest: "sha512:" + strings.Repeat("ab", 64), UsedBy: []string{"deploy3", "quickstart"}},
		{Name: "debian-12-small", Arch: lab.AMD64, State: "absent", Source: "build debian bookworm"},
		{Name: "ubuntu-24.04", Arch: lab.ARM64, State: "partial", Size: 104857600, Source: "https://cloud-images.ubuntu.com/noble.img", Problem: "the download stopped: connection reset by peer"},
	}
}

func versions() []Version {
	return []Version{
		{Name: "labctl", Version: "v0.1.0", Built: provider.Built{Version: "v0.1.0", Commit: "1a2b3c4d5e6f", Changed: true, Go: "go1.26.8"}, Protocol: 1, Path: "/usr/local/bin/labctl"},
		{Name: "labctl-provider-qemu", Version: "v0.1.0", Built: provider.Built{Version: "v0.1.0", Commit: "1a2b3c4d5e6f", Go: "go1.26.8"}, Protocol: 1, Path: "/usr/local/bin/labctl-provider-qemu"},
		{Name: "labctl-provider-old", Path: "/home/u/.labctl/plugins/labctl-provider-old", Problem: "speaks protocol 0, this labctl speaks 1"},
	}
}
