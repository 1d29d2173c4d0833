package main_test

import (
	"os"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdTutorial is "tutorial FILE": does what a reader of that page does. A block of CUE becomes lab.cue, for containers
// instead of QEMU; a block of commands is run, and the words that the page lets it say after "||" are said.
func cmdTutorial(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tutorial FILE")
	}
	blocks := regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(ts.ReadFile(args[0]), -1)
	said := regexp.MustCompile(`\|\| echo "(.*)"`)
	commands := 0
	for _, b := range blocks {
		switch b[1] {
		case "cue":
			text := strings.ReplaceAll(b[2], `provider: "qemu"`, `provider: "nspawn"`)
			ts.Check(os.WriteFile(ts.MkAbs("lab.cue"), []byte(text), 0o644))
		case "sh":
			commands++
			if err := ts.Exec("bash", "-euo", "pipefail", "-c", b[2]); err != nil {
				ts.Fatalf("%s%v", b[2], err)
			}
			out := ts.ReadFile("stdout")
			for _, m := range said.FindAllStringSubmatch(b[2], -1) {
				if !strings.Contains(out, m[1]) {
					ts.Fatalf("%snothing was found wrong", b[2])
				}
			}
		default:
			ts.Fatalf("a block of %s", b[1])
		}
	}
	if commands < 10 {
		ts.Fatalf("only %d blocks of commands", commands)
	}
}
