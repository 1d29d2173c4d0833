package main_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"strings"

	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/encoding/yaml"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdCilines is "cilines FILE": the file for a CI server is well-formed, and every labctl command line in it, and every use
// of our action, does in this folder what it says, for the plane dev. The memory provider runs nothing that could be
// tested, so that verb need only be understood.
func cmdCilines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: cilines FILE")
	}
	text := ts.ReadFile(args[0])
	var lines, actions []string
	if filepath.Base(args[0]) == "Jenkinsfile" {
		for _, m := range regexp.MustCompile(`'''(.*?)'''`).FindAllStringSubmatch(text, -1) {
			lines = append(lines, m[1])
		}
	} else {
		collect(parseYAML(ts, args[0], text), &lines, &actions)
	}
	for _, name := range []string{"PLANE", "CI_COMMIT_BRANCH", "BRANCH_NAME"} {
		ts.Setenv(name, "dev")
	}
	ts.Setenv("CI_MERGE_REQUEST_DIFF_BASE_SHA", "HEAD")
	n := 0
	for _, verb := range []string{"vet", "plan", "diff", "apply", "test", "drift"} { // as they are met in a plane's life
		for _, l := range lines {
			if strings.HasPrefix(l, "labctl "+verb+" ") {
				n++
				runLine(ts, verb, l)
			}
		}
		for _, a := range actions {
			if strings.HasPrefix(a, "VERB="+verb+"\n") {
				n++
				env := strings.Split(strings.TrimSpace(a), "\n")
				runLine(ts, verb, strings.Join(append(quoteAll(env), "RUNNER_TEMP=.", ts.Getenv("ROOT")+"/build/action.sh run"), " "))
			}
		}
	}
	if n < 4 {
		ts.Fatalf("%s: only %d uses of labctl", args[0], n)
	}
}

// quoteAll are settings as a shell reads them.
func quoteAll(all []string) []string {
	var out []string
	for _, s := range all {
		name, value, _ := strings.Cut(s, "=")
		out = append(out, name+"='"+value+"'")
	}
	return out
}

func runLine(ts *testscript.TestScript, verb, line string) {
	err := ts.Exec("bash", "-c", line)
	if verb == "test" {
		if err == nil || !strings.Contains(ts.ReadFile("stderr"), "cannot reach the inside of machines") {
			ts.Fatalf("%s: %v", line, err)
		}
		return
	}
	if err != nil {
		ts.Fatalf("%s: %v", line, err)
	}
}

func parseYAML(ts *testscript.TestScript, name, text string) any {
	f, err := yaml.Extract(name, text)
	ts.Check(err)
	b, err := cuecontext.New().BuildFile(f).MarshalJSON()
	ts.Check(err)
	var v any
	ts.Check(json.Unmarshal(b, &v))
	return v
}

// collect finds what runs labctl: lines of scripts, and uses of our action as NAME=value settings, the verb first.
func collect(v any, lines, actions *[]string) {
	switch x := v.(type) {
	case string:
		*lines = append(*lines, x)
	case []any:
		for _, e := range x {
			collect(e, lines, actions)
		}
	case map[string]any:
		with, _ := x["with"].(map[string]any)
		if uses, _ := x["uses"].(string); strings.HasPrefix(uses, "labctl-dev/labctl@") {
			a := "VERB=" + with["verb"].(string)
			for _, name := range []string{"lab", "target", "define", "against", "junit", "sarif"} {
				if s, ok := with[name].(string); ok {
					s = regexp.MustCompile(`\$\{\{ (matrix.plane|github.ref_name) \}\}`).ReplaceAllString(s, "dev")
					s = strings.ReplaceAll(s, "${{ github.event.pull_request.base.sha }}", "HEAD")
					a += "\n" + strings.ToUpper(name) + "=" + s
				}
			}
			*actions = append(*actions, a+"\n")
			return
		}
		for _, e := range x {
			collect(e, lines, actions)
		}
	}
}
