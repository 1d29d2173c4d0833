package libvirt

import "sync"

// turns let at most four at a time ask over one connection, as conn.Call wants it. Without any, each fan has its own.
type turns chan struct{}

func newTurns() turns { return make(turns, 4) }

// fan calls f for 0 to n-1, each when it is its turn, and returns the first error.
func (t turns) fan(n int, f func(i int) error) error {
	if t == nil {
		t = newTurns()
	}
	todo := make([]func() error, n)
	for i := range todo {
		todo[i] = func() error {
			t <- struct{}{}
			defer func() { <-t }()
			return f(i)
		}
	}
	return together(todo...)
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
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
