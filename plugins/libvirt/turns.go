package libvirt

import (
	"sync"
	"sync/atomic"
)

// turns let at most four at a time ask over one connection, as conn.Call wants it. Without any, each fan has its own.
type turns chan struct{}

func newTurns() turns { return make(turns, 4) }

// fan calls f for 0 to n-1, each when it is its turn, and returns the first error. As many goroutines do it as there
// are turns: one for each call would grow its stack anew for a millisecond's work.
func (t turns) fan(n int, f func(i int) error) error {
	if t == nil {
		t = newTurns()
	}
	errs := make([]error, n)
	var next atomic.Int64
	crew := make([]func() error, min(n, cap(t)))
	for w := range crew {
		crew[w] = func() error {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				t <- struct{}{}
				errs[i] = f(i)
				<-t
			}
			return nil
		}
	}
	together(crew...)
	return first(errs)
}

// fan calls f for 0 to n-1, at most four at a time, and returns the first error.
func fan(n int, f func(i int) error) error { return turns(nil).fan(n, f) }

// together does things at the same time and returns the first error.
func together(todo ...func() error) error {
	errs := make([]error, len(todo))
	var wg sync.WaitGroup
	for i, f := range todo {
		wg.Go(func() { errs[i] = f() })
	}
	wg.Wait()
	return first(errs)
}

func first(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
