//go:build linux

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
	for seed := uint64(1); seed <= 300; seed++ {
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
		if seed%50 == 0 { // the kernel takes no transaction of any size
			cmd := exec.Command("nft", "-c", "-f", "-")
			cmd.Stdin = bytes.NewReader(all.Bytes())
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("seeds up to %d: nft -c: %v\n%.2000s", seed, err, out)
			}
			all.Reset()
		}
	}
	t.Logf("nft accepts %d rulesets", n)
}
