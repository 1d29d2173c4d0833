package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// A world is what exists of one lab in one target: a JSON file of objects by address, one on each line so that people,
// grep and sed can look at it and meddle with it. Readers need no lock, because the file is only ever replaced as a
// whole; writers hold one, so that the plugins of two labctl processes agree. It is not synced to the disk: it survives
// kill -9 at any point, not a power cut.
type world struct {
	folder string

	// What we wrote last. While the file is still that one it need not be read and encoded whole for every change, which
	// for a lab of a thousand machines would take minutes in all. Used by one change at a time.
	last    fs.FileInfo
	objects map[string]provider.Observed
	lines   map[string]string
}

func (w *world) file() string { return filepath.Join(w.folder, "world.json") }

// read returns the objects; none if there is no file.
func (w *world) read() (map[string]provider.Observed, error) {
	b, err := os.ReadFile(w.file())
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]provider.Observed{}, nil
	}
	if err != nil {
		return nil, err
	}
	var objects map[string]provider.Observed
	if err := json.Unmarshal(b, &objects); err != nil {
		return nil, &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("%s: %v", w.file(), err)}
	}
	return objects, nil
}

// change lets edit change the object at a, alone, or any if a is the zero Addr. When none are left, the folder goes. The
// caller sees to it that this process makes one change at a time.
func (w *world) change(ctx context.Context, a provider.Addr, edit func(map[string]provider.Observed) error) error {
	lock, err := w.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := w.load(); err != nil {
		return err
	}
	if err := edit(w.objects); err != nil {
		return err
	}
	w.last = nil // until it is written
	if len(w.objects) == 0 {
		return w.remove()
	}
	if a == (provider.Addr{}) {
		w.lines = map[string]string{}
		if err := w.encodeAll(); err != nil {
			return err
		}
		return w.write()
	}
	delete(w.lines, a.String())
	if o, ok := w.objects[a.String()]; ok {
		if err := w.encode(a.String(), o); err != nil {
			return err
		}
	}
	return w.write()
}

// load sees to it that objects and lines are those of the file.
func (w *world) load() error {
	now, err := os.Stat(w.file())
	if err == nil && w.last != nil && os.SameFile(now, w.last) && now.ModTime().Equal(w.last.ModTime()) && now.Size() == w.last.Size() {
		return nil
	}
	w.last, w.lines = nil, map[string]string{}
	if w.objects, err = w.read(); err != nil {
		return err
	}
	return w.encodeAll()
}

func (w *world) encodeAll() error {
	for a, o := range w.objects {
		if err := w.encode(a, o); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) encode(a string, o provider.Observed) error {
	b, err := json.Marshal(o)
	if err != nil {
		return err
	}
	w.lines[a] = fmt.Sprintf("%q: %s", a, b)
	return nil
}

func (w *world) write() error {
	lines := slices.Sorted(maps.Values(w.lines))
	next := w.file() + ".new"
	if err := os.WriteFile(next, []byte("{\n"+strings.Join(lines, ",\n")+"\n}\n"), 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, w.file()); err != nil {
		return err
	}
	var err error
	w.last, err = os.Stat(w.file())
	return err
}

// remove takes the folder away, the lock last, for until then nobody else can write here. Somebody who has made a new
// lock meanwhile keeps the folder.
func (w *world) remove() error {
	if err := os.RemoveAll(w.snapshots()); err != nil {
		return err
	}
	for _, f := range []string{w.file() + ".new", w.file(), w.lockFile()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Remove(w.folder); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return err
	}
	return nil
}

func (w *world) lockFile() string { return filepath.Join(w.folder, "lock") }

// lock waits for the lock until ctx ends. Closing the file, or dying, gives it back.
func (w *world) lock(ctx context.Context) (*os.File, error) {
	for {
		f, err := w.tryLock()
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, &provider.Error{Code: provider.CodeOf(ctx.Err()), Text: "waited for the lock " + w.lockFile()}
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// tryLock returns nil and no error when trying again is right.
func (w *world) tryLock() (*os.File, error) {
	if err := os.MkdirAll(w.folder, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(w.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // the folder went in between
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil && w.isLock(f) {
		return f, nil
	}
	f.Close()
	if err == nil || errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return nil, nil
	}
	return nil, fmt.Errorf("cannot lock %s: %w", w.lockFile(), err)
}

// isLock says whether f is still the lock, not one that was removed with its folder while we waited.
func (w *world) isLock(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(w.lockFile())
	return err == nil && os.SameFile(a, b)
}
