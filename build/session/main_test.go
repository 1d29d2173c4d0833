package main

import (
	"encoding/xml"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "draw docs/session.svg anew")

// The README's picture is the session, which a script plays (testdata/scripts/nspawn_session.txtar).
func TestDrawn(t *testing.T) {
	text, err := os.ReadFile("../../docs/session.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := draw(string(text))
	if *update {
		if err := os.WriteFile("../../docs/session.svg", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("../../docs/session.svg")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("docs/session.svg is of another session: make update (-drawn +now)\n%s", d)
	}
	said := ""
	for d := xml.NewDecoder(strings.NewReader(got)); ; {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			said += string(c)
		}
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimRight(line, "\n"); !strings.Contains(said, line) {
			t.Errorf("the picture does not say %q", line)
		}
	}
}
