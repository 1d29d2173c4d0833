package picture

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

func draw(t testing.TB, p Picture, f Format) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	goldentest.File(t, filepath.Join("testdata", name), got)
}

func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		p    Picture
		in   []Format
	}{
		{"deploy3", Picture{Lab: deploy3()}, []Format{SVG, HTML, Dot, Mermaid}},
		{"one", Picture{Lab: lab.Lab{Name: "one", Networks: []lab.Network{net("lan", "10.0.0.0/24", "")}, Machines: []lab.Machine{server("web", "lan")}}}, []Format{SVG}},
		{"campus", Picture{Lab: campus()}, []Format{SVG}},
	} {
		for _, f := range c.in {
			golden(t, c.name+Formats()[f][0], draw(t, c.p, f))
		}
	}
}
