package main_test

import (
	"os"
	"regexp"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/labctl-dev/labctl/internal/goldentest"
)

// cmdSession is "session FILE": runs what stands behind "$ " in a recorded session, and compares what it prints on stdout with
// the lines below it, up to an empty line before the next command.
func cmdSession(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: session FILE")
	}
	recorded := ts.ReadFile(args[0])
	var now strings.Builder
	for i, part := range strings.Split("\n"+recorded, "\n$ ")[1:] {
		command, _, _ := strings.Cut(part, "\n")
		run(ts, "bash", "-o", "pipefail", "-c", command) // drift and diff tell by their status
		if i > 0 {
			now.WriteString("\n")
		}
		now.WriteString("$ " + command + "\n" + strings.TrimRight(ts.ReadFile("stdout"), "\n") + "\n")
	}
	if goldentest.Update() {
		ts.Check(os.WriteFile(args[0], []byte(squeeze(now.String())), 0o644))
		return
	}
	// Times, the beginnings of digests, and the blanks that depend on how long those are.
	vary := regexp.MustCompile(`\b([0-9]+[hms])+\b|\b[0-9a-f]{8}…| +`)
	same := func(s string) string { return vary.ReplaceAllString(squeeze(s), " ") }
	if d := cmp.Diff(same(recorded), same(now.String())); d != "" {
		ts.Fatalf("%s is no longer what labctl prints (-recorded +now):\n%s", args[0], d)
	}
}

// squeeze takes away what a command without output leaves: an empty line in place of it.
func squeeze(s string) string { return strings.ReplaceAll(s, "\n\n\n", "\n\n") }
