package reach

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// meant says which of names somebody may have meant who wrote name; "" if none is near.
func meant(name string, names []string) string {
	slices.Sort(names)
	best, least := "", max(2, len(name)/3)+1
	for _, known := range names {
		if d := distance(name, known); d < least && d < len(known) {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance is the number of letters to insert, delete or replace, and of neighbours to exchange, between two names (the
// restricted Damerau-Levenshtein distance).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				cost++
			}
			rows[i][j] = min(cost, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

func networks(l lab.Lab) []string {
	var out []string
	for _, n := range l.Networks {
		out = append(out, n.Name)
	}
	return out
}

func machines(l lab.Lab) []string {
	var out []string
	for i := range l.Machines {
		out = append(out, l.Machines[i].Name)
	}
	return out
}

// selectors are all names that a rule's end may have.
func selectors(l lab.Lab) []string {
	out := append(append(networks(l), machines(l)...), "world", "any")
	for i := range l.Machines {
		out = append(out, l.Machines[i].Groups...)
	}
	return out
}
