package graph

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func build(n int, edges ...[2]int) *Graph {
	g := &Graph{}
	for range n {
		g.Add()
	}
	for _, e := range edges {
		g.Edge(e[0], e[1])
	}
	return g
}

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		g     *Graph
		order []int
		stuck []int
	}{
		{"empty", build(0), nil, nil},
		{"no edges keep their order", build(3), []int{0, 1, 2}, nil},
		{"a chain backwards", build(3, [2]int{2, 1}, [2]int{1, 0}), []int{2, 1, 0}, nil},
		{"a diamond", build(4, [2]int{3, 1}, [2]int{3, 2}, [2]int{1, 0}, [2]int{2, 0}), []int{3, 1, 2, 0}, nil},
		{"an edge twice, and one to itself", build(2, [2]int{1, 0}, [2]int{1, 0}, [2]int{0, 0}), []int{1, 0}, nil},
		{"a cycle", build(4, [2]int{0, 1}, [2]int{1, 2}, [2]int{2, 1}), nil, []int{1, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.g.Order()
			if diff := cmp.Diff(c.order, got); diff != "" {
				t.Error(diff)
			}
			var cycle *CycleError
			if errors.As(err, &cycle) != (c.stuck != nil) {
				t.Fatalf("error %v, want a cycle: %v", err, c.stuck != nil)
			}
			if cycle != nil {
				if diff := cmp.Diff(c.stuck, cycle.Steps); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestBehind(t *testing.T) {
	g := build(5, [2]int{0, 2}, [2]int{2, 4}, [2]int{1, 3})
	if diff := cmp.Diff([]int{2, 4}, g.Behind(0)); diff != "" {
		t.Error(diff)
	}
}
