package main_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/testscript"

	labctl "github.com/labctl-dev/labctl/cmd/labctl"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/plugins/gce"
	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/plugins/nspawn"
	"github.com/labctl-dev/labctl/plugins/qemu"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/rpc"
)

// TestMain lets scripts run the real labctl and real plugin processes: each is this program under another name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"labctl":                  func() { os.Exit(labctl.MainAt(scriptTime())) },
		"labctl-provider-memory":  func() { rpc.Serve(memory.Plugin()) },
		"labctl-provider-qemu":    func() { qemu.Main(rpc.Serve) },
		"labctl-provider-libvirt": func() { rpc.Serve(libvirt.Plugin()) },
		"labctl-provider-nspawn":  func() { nspawn.Main(rpc.Serve) },
		"labctl-provider-gce":     func() { rpc.Serve(gce.Plugin()) },
	})
}

// scriptTime is the time that a script says it is, in LABCTL_TEST_NOW as 2006-01-02.
func scriptTime() time.Time {
	now, err := time.Parse(time.DateOnly, os.Getenv("LABCTL_TEST_NOW"))
	if err != nil {
		return time.Now()
	}
	return now
}

// TestScripts runs testdata/scripts but for those that start machines.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("../../testdata/scripts/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range scripts {
		if kind, _, _ := strings.Cut(filepath.Base(s), "_"); !slices.Contains([]string{"qemu", "e2e", "libvirt", "nspawn", "roles", "example"}, kind) {
			files = append(files, s)
		}
	}
	testscript.Run(t, params(files))
}

// watch has Go's cache of test results know files that a test does not open itself, but has other processes read: a result
// is taken from the cache as long as what the test itself looked at is the same. Hidden folders and bin are left out.
func watch(root string, wanted func(path string) bool) {
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
		case d.IsDir() && path != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin"):
			return filepath.SkipDir
		case !d.IsDir() && wanted(path):
			_, _ = os.Stat(path)
		}
		return nil
	})
}

func params(files []string) testscript.Params {
	for _, dir := range []string{"labs", "examples", "build"} {
		watch(filepath.Join("../..", dir), func(string) bool { return true })
	}
	return testscript.Params{
		Files:         files,
		UpdateScripts: goldentest.Update(),
		Setup: func(e *testscript.Env) error {
			e.Setenv("LABCTL_HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("NO_COLOR", "1")
			e.Setenv("MOUNTS", mounts())
			e.Values["cloud"] = &cloud{}
			root, err := filepath.Abs("../..")
			e.Setenv("ROOT", root)
			return err
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "mounts":
				return exec.Command("unshare", mounts(), "true").Run() == nil, nil
			case "root":
				return os.Getuid() == 0, nil
			}
			return false, fmt.Errorf("no condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      cmdExits,
			"waitfor":    cmdWaitfor,
			"json":       cmdJSON,
			"documented": cmdDocumented,
			"sub":        cmdSub,
			"fits":       cmdFits,
			"crashwalk":  cmdCrashwalk,
			"everylab":   cmdEverylab,
			"noprocess":  cmdNoprocess,
			"serve":      cmdServe,
			"cloud":      cmdCloud,
			"cilines":    cmdCilines,
		},
	}
}

// mounts is the flag that gives unshare a world of mounts to change: without root it takes a user namespace.
func mounts() string {
	if os.Getuid() == 0 {
		return "-m"
	}
	return "-rm"
}

// cmdExits is "exits CODE command args...": the command returns exactly that.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := run(ts, args[1:]...); got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// run runs a command for its exit status; -1 is a signal.
func run(ts *testscript.TestScript, args ...string) int {
	err := ts.Exec(args[0], args[1:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	ts.Check(err)
	return 0
}

// cmdWaitfor is "waitfor FILE REGEXP": at most two minutes until the file has it.
func cmdWaitfor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfor FILE REGEXP")
	}
	re := regexp.MustCompile(args[1])
	var text []byte
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		if re.Match(text) {
			return
		}
	}
	ts.Fatalf("%s has not %q after two minutes, but:\n%s", args[0], args[1], text)
}

// cmdJSON is "json FILE [PATH VALUE]": the file (or stdout) is JSON, and what is at PATH (names and indexes with dots
// between them) prints as VALUE.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 && len(args) != 3 {
		ts.Fatalf("usage: json FILE [PATH VALUE]")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile(args[0])), &v); err != nil {
		ts.Fatalf("%s is no JSON: %v", args[0], err)
	}
	if len(args) == 1 {
		return
	}
	for _, name := range strings.Split(args[1], ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(x) {
				ts.Fatalf("%s: no %s in a list of %d", args[1], name, len(x))
			}
			v = x[i]
		default:
			v = nil
		}
	}
	if got := fmt.Sprint(v); got != args[2] {
		ts.Fatalf("%s is %s, want %s", args[1], got, args[2])
	}
}

// cmdSub is "sub FILE REGEXP TEXT": every match in the file is replaced, and there is one.
func cmdSub(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: sub FILE REGEXP TEXT")
	}
	re, old := regexp.MustCompile(args[1]), ts.ReadFile(args[0])
	if !re.MatchString(old) {
		ts.Fatalf("%s has no %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(re.ReplaceAllString(old, args[2])), 0o600))
}

// cmdFits is "fits COLUMNS": what was printed on the terminal, colours left out, has no longer line.
func cmdFits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fits COLUMNS")
	}
	most, err := strconv.Atoi(args[0])
	ts.Check(err)
	plain := regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(ts.ReadFile("ttyout"), "")
	for line := range strings.Lines(plain) {
		if line = strings.TrimRight(line, "\r\n"); utf8.RuneCountInString(line) > most {
			ts.Fatalf("longer than %d columns: %s", most, line)
		}
	}
}

// cmdCrashwalk is "crashwalk VERB LAB args...": kills labctl and its plugin before and after each single change of apply,
// reinstall or destroy, every time followed by an apply (or destroy) that must succeed and leave nothing to do.
func cmdCrashwalk(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: crashwalk VERB LAB args...")
	}
	verb, lab, then := args[0], args[1], "apply"
	if verb == "destroy" {
		then = verb
	}
	points := 0
	for _, moment := range []string{"before", "after"} {
		for n := 1; ; n++ {
			if verb != "apply" {
				must(ts, 0, "labctl", "apply", "-q", lab)
			}
			at := fmt.Sprintf("kill=%s change %d", moment, n)
			code := run(ts, append([]string{"labctl", verb, "-q", "--parallel", "1", "-D", at}, args[1:]...)...)
			if code == 0 {
				if points == 0 {
					ts.Fatalf("%s: nothing was killed", at)
				}
				break
			}
			if code != -1 {
				ts.Fatalf("%s: exit status %d, not a kill", at, code)
			}
			points++
			must(ts, 0, "labctl", then, "-q", lab)
			if then == "apply" {
				must(ts, 0, "labctl", "drift", lab)
				must(ts, 0, "labctl", "destroy", "-q", lab)
			}
			if left, _ := filepath.Glob(filepath.Join(ts.Getenv("LABCTL_HOME"), "labs", "*")); len(left) > 0 {
				ts.Fatalf("%s: left behind: %v", at, left)
			}
		}
		if then == "apply" {
			must(ts, 0, "labctl", "destroy", "-q", lab)
		}
	}
	ts.Logf("%d points", points)
}

func must(ts *testscript.TestScript, want int, args ...string) {
	if got := run(ts, args...); got != want {
		ts.Fatalf("%s: exit status %d, want %d", strings.Join(args, " "), got, want)
	}
}

// cmdEverylab is "everylab VERB args...": labctl VERB succeeds for every lab in labs/, with the memory provider's plan
// for all of them done by their own targets.
func cmdEverylab(ts *testscript.TestScript, neg bool, args []string) {
	labs, err := filepath.Glob(filepath.Join(ts.Getenv("ROOT"), "labs", "*.cue"))
	ts.Check(err)
	if neg || len(labs) == 0 {
		ts.Fatalf("usage: everylab VERB args...; there are %d labs", len(labs))
	}
	examples, err := filepath.Glob(filepath.Join(ts.Getenv("ROOT"), "labs", "examples", "*.cue"))
	ts.Check(err)
	for _, l := range append(labs, examples...) {
		must(ts, 0, append(append([]string{"labctl"}, args...), l)...)
	}
}

// cmdNoprocess is "noprocess FOLDER": within ten seconds no process has FOLDER, or what is in it, in its command line.
func cmdNoprocess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: noprocess FOLDER")
	}
	var found []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if found = processes(args[0]); len(found) == 0 {
			return
		}
	}
	ts.Fatalf("still running:\n%s", strings.Join(found, "\n"))
}

// processes are the command lines that name the folder or something in it, but for our own. A folder whose name only begins
// like that is another script's.
func processes(folder string) []string {
	names := regexp.MustCompile(regexp.QuoteMeta(folder) + `([^\w-]|$)`)
	var found []string
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, l := range lines {
		b, err := os.ReadFile(l)
		if err == nil && names.Match(b) && filepath.Base(filepath.Dir(l)) != strconv.Itoa(os.Getpid()) {
			found = append(found, filepath.Base(filepath.Dir(l))+" "+strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return found
}
