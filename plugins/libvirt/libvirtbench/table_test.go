package libvirtbench

import (
	"fmt"
	"slices"
	"time"
)

// The head of the table that is printed.
const head = `| machines | what | raw calls | provider | x raw | labctl | x raw | terraform | x labctl |
|---:|---|---:|---:|---:|---:|---:|---:|---:|`

// print prints the medians as lines of the table.
func (s samples) print(n int) {
	for _, what := range []string{"plan", "apply", "no change", "destroy"} {
		raw, provider, labctl, terraform := s.median(what, "raw"), s.median(what, "provider"), s.median(what, "labctl"), s.median(what, "terraform")
		fmt.Printf("| %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", n, what, seconds(raw),
			seconds(provider), ratio(provider, raw), seconds(labctl), ratio(labctl, raw), seconds(terraform), ratio(terraform, labctl))
	}
}

// median is 0 where nothing was measured.
func (s samples) median(what, who string) time.Duration {
	all := slices.Sorted(slices.Values(s[what][who]))
	if len(all) == 0 {
		return 0
	}
	return all[len(all)/2]
}

func seconds(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return fmt.Sprintf("%.3f s", d.Seconds())
}

func ratio(a, b time.Duration) string {
	if a == 0 || b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", a.Seconds()/b.Seconds())
}
