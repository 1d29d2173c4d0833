package view

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/check/reach"
)

// everybody is a matrix of n machines, the last of which stands for a hundred, where each reaches all others.
func everybody(n int) reach.Matrix {
	var m reach.Matrix
	for i := range n {
		g := reach.Group{Name: fmt.Sprintf("machine%d", i), Machines: []string{fmt.Sprintf("machine%d", i)}}
		if i == n-1 {
			for k := range 99 {
				g.Machines = append(g.Machines, fmt.Sprintf("other%d", k))
			}
		}
		m.Groups = append(m.Groups, g)
		row := make([][]string, n)
		for j := range row {
			if j != i {
				row[j] = []string{"tcp/22", "icmp"}
			}
		}
		m.Cells = append(m.Cells, row)
	}
	return m
}

// TestMatrix draws few machines as a table where it fits, and many, or on a narrow screen, as a bounded list.
func TestMatrix(t *testing.T) {
	for _, tt := range []struct {
		machines, width int
		table           bool
	}{{3, 0, true}, {3, 100, true}, {3, 40, false}, {10, 0, true}, {10, 120, false}, {100, 0, false}, {100, 80, false}} {
		var b bytes.Buffer
		if err := Matrix(&b, "x", everybody(tt.machines), Options{Width: tt.width}); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if strings.Contains(got, `FROM \ TO`) != tt.table {
			t.Errorf("%d machines in %d columns: a table is %v\n%s", tt.machines, tt.width, !tt.table, got)
		}
		if n := strings.Count(got, "\n"); n > 10+6*tt.machines+20 {
			t.Errorf("%d machines in %d columns take %d lines", tt.machines, tt.width, n)
		}
		for _, l := range strings.Split(got, "\n") {
			if tt.width > 0 && columns(l) > tt.width {
				t.Errorf("%d machines in %d columns: %q", tt.machines, tt.width, l)
			}
		}
		if !strings.Contains(got, fmt.Sprintf("machine%d+99 are alike: machine%d, other0", tt.machines-1, tt.machines-1)) && tt.width == 0 {
			t.Errorf("who is alike is not said:\n%s", got)
		}
	}
}
