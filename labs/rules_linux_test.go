package labs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/schema"
)

// TestRules gives every ruleset of every lab in this folder to nft.
func TestRules(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil || os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("nft -c needs nftables and root")
		}
		t.Skip("nft -c needs nftables and root")
	}
	files, err := filepath.Glob("*.cue")
	if err != nil {
		t.Fatal(err)
	}
	rulesets := 0
	for _, file := range files {
		s, err := schema.Load(schema.Options{Args: []string{file}})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		sets, err := nft.All(s.Lab)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for machine, set := range sets {
			rulesets++
			cmd := exec.Command("nft", "-c", "-f", "-")
			cmd.Stdin = bytes.NewReader(set.Render())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %s: nft -c: %v\n%s", file, machine, err, out)
			}
		}
	}
	t.Logf("%d rulesets of %d labs", rulesets, len(files))
}
