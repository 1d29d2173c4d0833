package converge_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest/converge"
)

// machine is a fake root folder with fake system programs in front of PATH. Every call of one is a line of calls.
type machine struct {
	t    *testing.T
	root string
	bin  string
	prog string
}

type report struct {
	State   string
	OK      bool
	Digest  string
	Run     string
	Changed []struct{ Item, What string }
	Errors  []struct{ Item, Error, Output string }
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir := t.TempDir()
	m := &machine{t, filepath.Join(dir, "root"), filepath.Join(dir, "bin"), filepath.Join(dir, "converge")}
	for _, d := range []string{"etc", "var/lib/dpkg", "var/lib/apt/lists", "units"} {
		if err := os.MkdirAll(filepath.Join(m.root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(m.prog, []byte(converge.Program()), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(m.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	fakes, err := os.ReadDir("testdata/bin")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fakes {
		text, err := os.ReadFile(filepath.Join("testdata/bin", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(m.bin, f.Name()), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.write("etc/hostname", "web\n")
	m.write("etc/hosts", "127.0.0.1 localhost\n# mine\n192.0.2.1 printer\n")
	return m
}

func (m *machine) write(path, text string) {
	m.t.Helper()
	full := filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) string {
	m.t.Helper()
	b, err := os.ReadFile(filepath.Join(m.root, path))
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func (m *machine) exists(path string) bool {
	_, err := os.Lstat(filepath.Join(m.root, path))
	return err == nil
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command("python3", append([]string{m.prog, "--root", m.root}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+m.bin+":/usr/bin:/bin", "FAKE_ROOT="+m.root)
	return cmd
}

// run runs the program and returns its exit status and report.
func (m *machine) run(args ...string) (int, report) {
	m.t.Helper()
	var out, errs bytes.Buffer
	cmd := m.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if errs.Len() > 0 {
		m.t.Fatalf("%v: %s", err, errs.String())
	}
	var r report
	text := out.String()
	if !strings.Contains(strings.Join(args, " "), "--check") {
		text = m.read("run/labctl/report.json")
	}
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		m.t.Fatalf("%v in %s", err, text)
	}
	return cmd.ProcessState.ExitCode(), r
}

// calls returns what was called since the last time, programs that only ask left out.
func (m *machine) calls() string {
	b, _ := os.ReadFile(filepath.Join(m.root, "calls"))
	os.Remove(filepath.Join(m.root, "calls"))
	return strings.TrimSpace(string(b))
}

type object map[string]any

func (m *machine) document(change object) {
	m.t.Helper()
	m.write("etc/labctl/guest.json", m.encode(change))
}

// encode is a document with nothing in it but what change says.
func (m *machine) encode(change object) string {
	m.t.Helper()
	d := object{
		"version": 2, "lab": "demo", "machine": "web", "digest": "sha256:1", "hostname": "web", "fqdn": "web.demo.lab",
		"user":  object{"name": "lab", "authorized_keys": []string{"ssh-ed25519 AAAA lab"}},
		"hosts": []object{{"addr": "10.0.0.5", "names": []string{"web.demo.lab", "web"}}}, "network": []object{},
		"packages": []string{}, "files": []object{}, "units": []object{}, "commands": []object{},
	}
	for k, v := range change {
		d[k] = v
	}
	b, err := json.Marshal(d)
	if err != nil {
		m.t.Fatal(err)
	}
	return string(b)
}

func file(path, text string, restart ...string) object {
	return object{"path": path, "text": text, "mode": "0640", "owner": "root", "group": "root", "restart": restart}
}

func items(r report) []string {
	out := []string{}
	for _, c := range r.Changed {
		out = append(out, c.Item+": "+c.What)
	}
	for _, e := range r.Errors {
		out = append(out, "FAILED "+e.Item+": "+e.Error)
	}
	return out
}

func (m *machine) want(args []string, status int, wanted ...string) report {
	m.t.Helper()
	got, r := m.run(args...)
	return judge(m.t, args, got, r, status, wanted)
}

// judge compares a run's exit status and items with what is wanted.
func judge(t *testing.T, args []string, got int, r report, status int, wanted []string) report {
	t.Helper()
	if wanted == nil {
		wanted = []string{}
	}
	if diff := cmp.Diff(wanted, items(r)); diff != "" || got != status {
		t.Fatalf("%v: exit status %d, want %d; items (-want +got):\n%s\n%+v", args, got, status, diff, r.Errors)
	}
	return r
}

func full() object {
	return object{
		"packages": []string{"nginx", "mail-transport-agent"},
		"files":    []object{file("/etc/app/app.conf", "a = 1\n", "app"), file("/etc/systemd/system/app.service", "[Service]\n", "app")},
		"units":    []object{{"name": "app", "enabled": true, "running": true}},
		"commands": []object{{"name": "init", "run": "echo ran >> $FAKE_ROOT/count"}, {"name": "db", "run": "touch $FAKE_ROOT/made", "creates": "/made"}},
	}
}

func TestConvergesAndStays(t *testing.T) {
	m := newMachine(t)
	m.document(full())
	everything := []string{
		"user lab: authorized keys", "hosts: the lab's block of /etc/hosts",
		"packages: nginx installed", "packages: mail-transport-agent installed",
		"file /etc/app/app.conf: is missing", "file /etc/systemd/system/app.service: is missing",
		"daemon-reload: unit files changed", "unit app: is not enabled", "unit app: does not run",
		"command init: run", "command db: run",
	}
	_, r := m.run("--check")
	if len(r.Changed) == 0 || m.exists("var/lib/labctl") || m.exists("etc/app") || m.calls() != "" {
		t.Fatalf("--check changed something or saw nothing: %v", items(r))
	}
	r = m.want([]string{"--run", "boot"}, 0, everything...)
	if !r.OK || r.State != "done" || r.Run != "boot" || r.Digest != "sha256:1" {
		t.Errorf("report: %+v", r)
	}
	hosts := m.read("etc/hosts")
	if !strings.HasPrefix(hosts, "127.0.0.1 localhost\n# mine\n192.0.2.1 printer\n# labctl begin") || !strings.Contains(hosts, "\n10.0.0.5 web.demo.lab web\n# labctl end\n") {
		t.Errorf("hosts:\n%s", hosts)
	}
	if s, _ := os.Stat(filepath.Join(m.root, "etc/app/app.conf")); s.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", s.Mode())
	}
	m.calls()
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)
	if got := m.calls() + m.read("count"); got != "ran\n" {
		t.Errorf("the second run called: %s", got)
	}
}

func TestFindsAndMendsWhatHandsDid(t *testing.T) {
	m := newMachine(t)
	m.document(full())
	m.run()
	m.calls()
	m.write("etc/app/app.conf", "a = 2\n")
	m.write("etc/hosts", "127.0.0.1 localhost\n")
	m.write("home/lab/.ssh/authorized_keys", "ssh-rsa mine\n")
	os.Remove(filepath.Join(m.root, "pkg.nginx"))
	os.Remove(filepath.Join(m.root, "units/app.service.active"))
	os.Remove(filepath.Join(m.root, "made"))
	m.want([]string{"--check"}, 2, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "packages: nginx is not installed",
		"file /etc/app/app.conf: content", "unit app: does not run", "command db: has not made /made")
	if got := m.calls(); got != "" {
		t.Errorf("--check called %s", got)
	}
	m.want(nil, 0, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "packages: nginx installed",
		"file /etc/app/app.conf: content", "unit app: does not run", "command db: run")
	if got := m.read("home/lab/.ssh/authorized_keys"); got != "ssh-rsa mine\nssh-ed25519 AAAA lab\n" {
		t.Errorf("keys: %s", got)
	}
	if got := m.calls(); !strings.HasSuffix(got, "systemctl restart app.service") {
		t.Errorf("calls: %s", got)
	}
}

func TestChangesAndRemovals(t *testing.T) {
	m := newMachine(t)
	m.document(full())
	m.run()
	m.calls()
	d := full()
	d["files"] = []object{file("/etc/systemd/system/app.service", "[Service]\nUser=x\n", "app"), file("/etc/other", "x", "other")}
	d["user"] = object{"name": "lab", "authorized_keys": []string{"ssh-ed25519 BBBB lab"}}
	d["digest"] = "sha256:2"
	m.document(d)
	m.want(nil, 0, "user lab: authorized keys", "file /etc/app/app.conf: removed", "file /etc/systemd/system/app.service: content",
		"file /etc/other: is missing", "daemon-reload: unit files changed", "unit app: restarted, its files changed", "unit other.service: its files changed")
	if got, want := m.calls(), "systemctl daemon-reload\nsystemctl restart app.service\nsystemctl restart other.service"; got != want {
		t.Errorf("calls: %s", got)
	}
	if got := m.read("home/lab/.ssh/authorized_keys"); got != "ssh-ed25519 BBBB lab\n" {
		t.Errorf("keys: %s", got)
	}
	d["files"] = []object{}
	m.document(d)
	m.run()
	if m.exists("etc/other") || m.exists("etc/systemd/system/app.service") {
		t.Error("files of the earlier document are still there")
	}
	m.want(nil, 0)
}

func TestOneBadItem(t *testing.T) {
	m := newMachine(t)
	m.write("dir/inside/x", "")
	d := full()
	d["packages"] = []string{"nginx", "broken"}
	d["files"] = []object{file("/dir/inside", "a folder is in the way"), file("/etc/good", "good")}
	d["units"] = []object{{"name": "broken", "enabled": true, "running": true}, {"name": "app", "enabled": true, "running": true}, {"name": "nosuch", "enabled": true, "running": true}}
	m.document(d)
	r := m.want(nil, 1, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "packages: nginx installed", "file /etc/good: is missing",
		"unit app: is not enabled", "unit app: does not run",
		"FAILED package broken: cannot be installed: exit status 100", "FAILED file /dir/inside: /dir/inside is a folder",
		"FAILED unit broken: systemctl start failed", "FAILED unit nosuch: there is no such unit",
		"FAILED command init: not run, because a source, package, file or command before it failed",
		"FAILED command db: not run, because a source, package, file or command before it failed")
	if out := r.Errors[0].Output; out != "E: broken does not unpack" {
		t.Errorf("apt's words: %q", out)
	}
	if out := r.Errors[2].Output; !strings.Contains(out, "journal of broken.service") {
		t.Errorf("the journal's words: %q", out)
	}
}

// A package that nobody has is a mistake of the lab's, or a source that does not answer: nothing after it is begun.
func TestUnknownPackage(t *testing.T) {
	m := newMachine(t)
	m.write("var/lib/apt/lists/mirror_Packages", "")
	d := full()
	d["packages"] = []string{"nginx", "nosuch"}
	m.document(d)
	r := m.want(nil, 1, changed("FAILED package nosuch: apt knows no such package")...)
	if out := r.Errors[0].Output; out != "E: Unable to locate package nosuch" {
		t.Errorf("apt's words: %q", out)
	}
	if got := m.calls(); strings.Contains(got, "install") || !strings.HasSuffix(got, " update") || m.exists("etc/app/app.conf") {
		t.Errorf("something was changed: %s", got)
	}
	// apt's status is 0 when nothing leads to the mirrors.
	m.write("mirror", "W: Failed to fetch http://deb.debian.org/debian/dists/bookworm/InRelease  Temporary failure resolving 'deb.debian.org'\n")
	r = m.want(nil, 1, "FAILED package nosuch: apt knows no such package, and cannot read what there is: no way to the mirrors")
	if out := r.Errors[0].Output; !strings.Contains(out, "Temporary failure resolving") {
		t.Errorf("apt's words: %q", out)
	}
	m.document(full())
	if status, r := m.run(); status != 0 {
		t.Errorf("with the right name: %v", items(r))
	}
}

func TestCommandFailsThenWorks(t *testing.T) {
	m := newMachine(t)
	m.document(object{"commands": []object{{"name": "try", "run": "echo why; [ -e $FAKE_ROOT/ok ]"}, {"name": "later", "run": "true"}}})
	r := m.want(nil, 1, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "FAILED command try: command failed: exit status 1",
		"FAILED command later: not run, because a source, package, file or command before it failed")
	if r.Errors[0].Output != "why" {
		t.Errorf("output %q", r.Errors[0].Output)
	}
	m.write("ok", "")
	m.want(nil, 0, "command try: run", "command later: run")
}

// TestKilled kills a run at ever later moments; the run after it must finish the work, the restart included.
func TestKilled(t *testing.T) {
	m := newMachine(t)
	m.document(full())
	m.run()
	for i := range 8 {
		d := full()
		d["files"] = []object{file("/etc/app/app.conf", strings.Repeat("x", i+1), "app"), file("/etc/systemd/system/app.service", "[Service]\n", "app")}
		m.document(d)
		m.calls()
		cmd := m.command()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(60+25*i) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if status, r := m.run(); status != 0 {
			t.Fatalf("after a kill: %v", items(r))
		}
		if got := m.calls(); !strings.Contains(got, "restart app.service") {
			t.Errorf("kill %d: the service was not restarted: %s", i, got)
		}
		m.want([]string{"--check"}, 0)
	}
}

// TestKilledBetweenFileAndRestart is the moment that TestKilled may miss.
func TestKilledBetweenFileAndRestart(t *testing.T) {
	m := newMachine(t)
	m.document(full())
	m.run()
	m.calls()
	d := full()
	d["files"] = []object{file("/etc/app/app.conf", "new", "app"), file("/etc/systemd/system/app.service", "[Service]\nnew", "app")}
	m.document(d)
	m.write("die", "daemon-reload") // the fake systemctl kills its parent
	if err := m.command().Run(); err == nil {
		t.Fatal("the run was not killed")
	}
	os.Remove(filepath.Join(m.root, "die"))
	m.calls()
	m.want(nil, 0, "daemon-reload: unit files changed", "unit app: restarted, its files changed")
}

func TestOneRunAtATime(t *testing.T) {
	m := newMachine(t)
	m.document(object{"commands": []object{{"name": "slow", "run": "sleep 2"}}})
	slow := m.command()
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	defer slow.Wait()
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		if m.exists("run/labctl/report.json") {
			break
		}
	}
	status, r := m.run("--check", "--wait", "0")
	if status != 1 || len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Error, "another run holds") {
		t.Errorf("status %d, %v", status, items(r))
	}
	if status, r := m.run("--check"); status != 0 {
		t.Errorf("after the other run: %v", items(r))
	}
}

func TestBadDocument(t *testing.T) {
	for name, text := range map[string]string{
		"not there":     "",
		"not JSON":      "{",
		"later version": `{"version": 3}`,
	} {
		m := newMachine(t)
		if text != "" {
			m.write("etc/labctl/guest.json", text)
		}
		if status, r := m.run(); status != 1 || len(r.Errors) != 1 || r.State != "done" {
			t.Errorf("%s: status %d: %v", name, status, items(r))
		}
	}
}
