package vmnet

import (
	"encoding/xml"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/internal/goldentest"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]string{
		"shared": "", "host": "", "bridged:en0": "", "bridged:bridge100": "",
		"": "is none of", "nat": "is none of", "bridged": "is none of", "bridged:": "names no interface", "bridged:en0; rm": "names no interface", "bridged:../x0": "names no interface",
	} {
		s, err := Parse(in)
		if want == "" && (err != nil || string(s) != in) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v", in, s, err)
		}
		for _, path := range s.Sockets() {
			if len(path) > 103 || !filepath.IsAbs(path) {
				t.Errorf("%q: %s is no path of a socket", in, path)
			}
		}
	}
}

// TestGolden compares what launchd and root are given.
func TestGolden(t *testing.T) {
	shared, host, en0 := NewHelper(Shared), NewHelper(Host), NewHelper("bridged:en0")
	for name, text := range map[string]string{
		"shared.plist": shared.Plist(), "host.plist": host.Plist(), "bridged.plist": en0.Plist(),
		"install.sh": Script([]Helper{shared, host, en0}),
	} {
		goldentest.File(t, filepath.Join("testdata", name), text)
		if strings.HasSuffix(name, ".plist") {
			wellFormed(t, name, text)
			continue
		}
		cmd := exec.Command("sh", "-n")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s is no shell script: %v\n%s", name, err, out)
		}
	}
}

func wellFormed(t *testing.T, name, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}
