package image

import (
	"context"
	"errors"
	"os"
)

// folderOnce is a folder of the store that is made once and kept.
type folderOnce struct {
	name   string // of what an error is about
	lock   string // of those who make it
	path   string // where it is kept
	verb   string // "make": how an error says what cannot be done
	what   string // "a kernel and initrd": what is in it, for errors
	exists func() bool
}

// once has fill make a folder unless it exists; who makes it is waited for. It appears whole.
func (s Store) once(ctx context.Context, f folderOnce, progress Progress, fill func(work string) error) error {
	if f.exists() {
		return nil
	}
	unlock, err := s.lock(ctx, f.lock, func() { progress("waiting for another process", 0, 0) })
	if err != nil {
		return fail(Denied, f.name, err, "cannot %s %s", f.verb, f.what)
	}
	defer unlock()
	if f.exists() { // another process was quicker
		return nil
	}
	work := s.work(f.lock)
	defer os.RemoveAll(work)
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return fail(Denied, f.name, err, "cannot %s %s", f.verb, f.what)
	}
	if err := fill(work); err != nil {
		return err
	}
	if err := replace(work, f.path); err != nil {
		return fail(Denied, f.name, err, "cannot keep %s", f.what)
	}
	return nil
}
