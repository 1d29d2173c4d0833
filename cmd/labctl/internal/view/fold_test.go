package view

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFold(t *testing.T) {
	const help = `Check types and names, and ask the plugins
of the lab's targets.

Kinds:
  pair     two machines on one network, the usual one
  -o, --output string   how results are printed
A last one.
`
	for _, c := range []struct {
		width int
		want  string
	}{
		{0, help},
		{100, "Check types and names, and ask the plugins of the lab's targets.\n\nKinds:\n  pair     two machines on one network, the usual one\n  -o, --output string   how results are printed\nA last one.\n"},
		{36, `Check types and names, and ask the
plugins of the lab's targets.

Kinds:
  pair     two machines on one
           network, the usual one
  -o, --output string   how results
                  are printed
A last one.
`},
	} {
		var b bytes.Buffer
		if err := Fold(&b, help, Options{Width: c.width}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, b.String()); d != "" {
			t.Errorf("width %d (-want +got):\n%s", c.width, d)
		}
	}
}
