package main

import (
	"encoding/xml"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/internal/goldentest"
)

// The README's picture is the session, which a script plays (testdata/scripts/nspawn_session.txtar).
func TestDrawn(t *testing.T) {
	text, err := os.ReadFile("../../docs/session.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := draw(string(text))
	goldentest.File(t, "../../docs/session.svg", got)
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
