package reach

import (
	"bytes"
	"os/exec"
	"sort"
	"testing"

	"github.com/labctl-dev/labctl/guest/nft"
)

// TestAccepted gives every ruleset of many random labs to nft itself.
func TestAccepted(t *testing.T) {
	need(t)
	var all bytes.Buffer
	n := 0
	for seed := uint64(1); seed <= 150; seed++ {
		sets, err := nft.All(random(seed))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		var names []string
		for name := range sets {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			all.Write(sets[name].Render())
			n++
		}
	}
	cmd := exec.Command("nft", "-c", "-f", "-")
	cmd.Stdin = &all
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("nft -c: %v\n%.2000s", err, out)
	}
	t.Logf("nft accepts %d rulesets", n)
}
