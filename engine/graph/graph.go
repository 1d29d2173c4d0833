// Package graph orders work: steps that wait for other steps, run as far in parallel as their edges allow.
//
// It must not know what a step does.
package graph

import (
	"container/heap"
	"fmt"
	"slices"
)

// Graph is a set of steps, numbered from 0, and the edges between them. The zero value has no steps.
type Graph struct {
	after  [][]int // after[i]: steps that wait for i
	before []int   // before[i]: how many steps i waits for
	edges  map[[2]int]bool
}

// Add adds a step and returns its number.
func (g *Graph) Add() int {
	g.after = append(g.after, nil)
	g.before = append(g.before, 0)
	return len(g.before) - 1
}

// Edge makes step second wait for step first. Repeating it changes nothing.
func (g *Graph) Edge(first, second int) {
	if g.edges == nil {
		g.edges = map[[2]int]bool{}
	}
	if first == second || g.edges[[2]int{first, second}] {
		return
	}
	g.edges[[2]int{first, second}] = true
	g.after[first] = append(g.after[first], second)
	g.before[second]++
}

// Order returns the steps so that each comes after those it waits for, lowest number first where there is a choice.
// A cycle is an error that carries the steps on it or behind it.
func (g *Graph) Order() ([]int, error) {
	w := g.Walk()
	order := []int(nil)
	ready := lowest(w.Start()) // ascending, and so a heap
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int)
		order = append(order, i)
		for _, j := range w.Done(i) {
			heap.Push(&ready, j)
		}
	}
	if len(order) < len(g.before) {
		var stuck []int
		for i, n := range w.waits {
			if n > 0 {
				stuck = append(stuck, i)
			}
		}
		return nil, &CycleError{Steps: stuck}
	}
	return order, nil
}

// CycleError says that steps wait for each other.
type CycleError struct{ Steps []int }

func (e *CycleError) Error() string { return fmt.Sprintf("steps %v wait for each other", e.Steps) }

// Walk is one traversal of a graph. It is not safe for concurrent use.
type Walk struct {
	g     *Graph
	waits []int
}

// Walk begins a traversal.
func (g *Graph) Walk() *Walk { return &Walk{g: g, waits: append([]int(nil), g.before...)} }

// Start returns the steps that wait for nothing.
func (w *Walk) Start() []int {
	var ready []int
	for i, n := range w.waits {
		if n == 0 {
			ready = append(ready, i)
		}
	}
	return ready
}

// Done says that step i is done and returns, ascending, the steps that wait for nothing now.
func (w *Walk) Done(i int) []int {
	var ready []int
	for _, j := range w.g.after[i] {
		w.waits[j]--
		if w.waits[j] == 0 {
			ready = append(ready, j)
		}
	}
	slices.Sort(ready)
	return ready
}

// Behind returns all steps that directly or indirectly wait for i, ascending.
func (g *Graph) Behind(i int) []int {
	seen := make([]bool, len(g.before))
	todo := []int{i}
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		for _, j := range g.after[n] {
			if !seen[j] {
				seen[j] = true
				todo = append(todo, j)
			}
		}
	}
	var all []int
	for j, s := range seen {
		if s {
			all = append(all, j)
		}
	}
	return all
}

// lowest is a heap of steps.
type lowest []int

func (l lowest) Len() int           { return len(l) }
func (l lowest) Less(i, j int) bool { return l[i] < l[j] }
func (l lowest) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }
func (l *lowest) Push(x any)        { *l = append(*l, x.(int)) }

func (l *lowest) Pop() any {
	old := *l
	x := old[len(old)-1]
	*l = old[:len(old)-1]
	return x
}
