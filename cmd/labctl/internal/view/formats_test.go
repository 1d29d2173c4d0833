package view

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	cuejson "cuelang.org/go/encoding/json"
	"cuelang.org/go/encoding/jsonschema"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// wrongs are findings with all that they can have.
func wrongs() []LocatedFinding {
	return []LocatedFinding{
		{Location: Location{"labs/two words.cue", 12, 5}, Path: "servers.web.cpus", Text: "is \"many\"; it should be a number", Also: []Location{{"/etc/other.cue", 3, 0}}},
		{Location: Location{"lab.cue", 3, 9}, Path: "policy.web", Text: "a | pipe, <b>markup</b> and\na second line", Warning: true},
		{Text: "without a place"},
	}
}

// here is the place of every change.
func here(plan.Change) Location { return Location{"lab.cue", 7, 2} }

// formatted are all that labctl writes for other programs, by the end of their golden file's name.
var formatted = []struct {
	name  string
	write func(w io.Writer) error
}{
	{"findings_bad.sarif", func(w io.Writer) error { return FindingsSARIF(w, "v1", wrongs()) }},
	{"findings_none.sarif", func(w io.Writer) error { return FindingsSARIF(w, "v1", nil) }},
	{"drift_bad.sarif", func(w io.Writer) error { return DriftSARIF(w, "v1", DriftFacts{bigPlan(), inside()}, here) }},
	{"findings_bad.junit", func(w io.Writer) error { return FindingsJUnit(w, "lab.cue", wrongs()) }},
	{"findings_none.junit", func(w io.Writer) error { return FindingsJUnit(w, "lab.cue", nil) }},
	{"drift_bad.junit", func(w io.Writer) error { return DriftJUnit(w, DriftFacts{bigPlan(), inside()}) }},
	{"drift_none.junit", func(w io.Writer) error {
		return DriftJUnit(w, DriftFacts{Plan: plan.Plan{Lab: "a", Target: "b", Unchanged: 3}})
	}},
	{"tested_bad.junit", func(w io.Writer) error { return JUnit(w, tested()) }},
	{"findings_bad.markdown", func(w io.Writer) error { return FindingsMarkdown(w, "lab.cue", wrongs()) }},
	{"findings_none.markdown", func(w io.Writer) error { return FindingsMarkdown(w, "lab.cue", nil) }},
	{"drift_bad.markdown", func(w io.Writer) error { return DriftMarkdown(w, DriftFacts{bigPlan(), inside()}) }},
	{"tested_bad.markdown", func(w io.Writer) error { return TestedMarkdown(w, tested()) }},
}

// TestFormats: what programs read is valid by the schemas of those programs.
func TestFormats(t *testing.T) {
	schema := sarifSchema(t)
	for _, f := range formatted {
		t.Run(f.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := f.write(&b); err != nil {
				t.Fatal(err)
			}
			golden(t, "format_"+f.name, b.String())
			switch filepath.Ext(f.name) {
			case ".sarif":
				validSARIF(t, schema, b.Bytes())
			case ".junit":
				validJUnit(t, b.Bytes())
			}
		})
	}
}

// TestSchemas: the schemas can say no.
func TestSchemas(t *testing.T) {
	v := sarifSchema(t)
	bad := []byte(`{"version": "2.1.0", "runs": [{"tool": {"driver": {}}}]}`) // a driver has a name
	if x, err := cuejson.Extract("bad", bad); err != nil || v.Unify(v.Context().BuildExpr(x)).Validate(cue.Concrete(true)) == nil {
		t.Errorf("SARIF without a driver's name is valid (%v)", err)
	}
	if out, err := xmllint(t, []byte(`<testsuites><testcase name="a"/></testsuites>`)); err == nil {
		t.Errorf("a case outside a suite is valid: %s", out)
	}
}

// sarifSchema is the schema of SARIF as CUE.
func sarifSchema(t *testing.T) cue.Value {
	t.Helper()
	b, err := os.ReadFile("testdata/schemas/sarif-2.1.0.json")
	if err != nil {
		t.Fatal(err)
	}
	x, err := cuejson.Extract("sarif-2.1.0.json", b)
	if err != nil {
		t.Fatal(err)
	}
	ctx := cuecontext.New()
	f, err := jsonschema.Extract(ctx.BuildExpr(x), &jsonschema.Config{DefaultVersion: jsonschema.VersionDraft4})
	if err != nil {
		t.Fatal(errors.Details(err, nil))
	}
	v := ctx.BuildFile(f)
	if v.Err() != nil {
		t.Fatal(errors.Details(v.Err(), nil))
	}
	return v
}

func validSARIF(t *testing.T, schema cue.Value, b []byte) {
	t.Helper()
	x, err := cuejson.Extract("out.sarif", b)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Unify(schema.Context().BuildExpr(x)).Validate(cue.Concrete(true)); err != nil {
		t.Error(errors.Details(err, nil))
	}
}

func validJUnit(t *testing.T, b []byte) {
	t.Helper()
	if out, err := xmllint(t, b); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func xmllint(t *testing.T, b []byte) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil {
		tiny.Skip(t, "xmllint is not installed: make test does that")
	}
	cmd := exec.CommandContext(t.Context(), path, "--noout", "--schema", "testdata/schemas/junit.xsd", "-")
	cmd.Stdin = bytes.NewReader(b)
	return cmd.CombinedOutput()
}
