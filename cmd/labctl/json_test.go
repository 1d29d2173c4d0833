package main_test

import (
	"encoding/json"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdDocumented is "documented VERB": every field of the document that was printed, or of the first of a list, stands in
// VERB's row of docs/json.md.
func cmdDocumented(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: documented VERB")
	}
	var v any
	if err := json.Unmarshal([]byte(ts.ReadFile("stdout")), &v); err != nil {
		ts.Fatalf("no JSON: %v", err)
	}
	if list, ok := v.([]any); ok && len(list) > 0 {
		v = list[0]
	}
	fields, _ := v.(map[string]any)
	page := ts.ReadFile(filepath.Join(ts.Getenv("ROOT"), "docs", "json.md"))
	for _, row := range strings.Split(page, "\n") {
		verbs, says, _ := strings.Cut(strings.TrimPrefix(row, "|"), "|")
		if !strings.Contains(verbs, "`"+args[0]+"`") {
			continue
		}
		if strings.Contains(says, "a report") {
			says += "`lab` `target` `results` `unsettled`"
		}
		for name := range fields {
			if !strings.Contains(says, "`"+name+"`") {
				ts.Fatalf("docs/json.md does not say that %s has %q", args[0], name)
			}
		}
		return
	}
	ts.Fatalf("docs/json.md has no row for %s", args[0])
}
