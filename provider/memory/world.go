package memory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// A world is what exists of one lab in one target: a JSON file of objects by address, one on each line so that people,
// grep and sed can look at it and meddle with it. Readers need no lock, because the file is only ever replaced as a
// whole; writers hold one, so that the plugins of two labctl processes agree. It is not synced to the disk: it survives
// kill -9 at any point, not a power cut.
type world struct{ folder string }

func (w world) file() string { return filepath.Join(w.folder, "world.json") }

// read returns the objects; none if there is no file.
func (w world) read() (map[string]provider.Observed, error) {
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

// change lets edit change the objects, alone. When none are left, the folder goes.
func (w world) change(ctx context.Context, edit func(map[string]provider.Observed) error) error {
	lock, err := w.lock(ctx)
	if err != nil {
		return err
	}
	defer lock.Close()
	objects, err := w.read()
	if err != nil {
		return err
	}
	if err := edit(objects); err != nil {
		return err
	}
	if len(objects) == 0 {
		return w.remove()
	}
	return w.write(objects)
}

func (w world) write(objects map[string]provider.Observed) error {
	lines := make([]string, 0, len(objects))
	for a, o := range objects {
		b, err := json.Marshal(o)
		if err != nil {
			return err
		}
		lines = append(lines, fmt.Sprintf("%q: %s", a, b))
	}
	sort.Strings(lines)
	next := w.file() + ".new"
	if err := os.WriteFile(next, []byte("{\n"+strings.Join(lines, ",\n")+"\n}\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, w.file())
}

// remove takes the folder away, the lock last, for until then nobody else can write here. Somebody who has made a new
// lock meanwhile keeps the folder.
func (w world) remove() error {
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

func (w world) lockFile() string { return filepath.Join(w.folder, "lock") }

// lock waits for the lock until ctx ends. Closing the file, or dying, gives it back.
func (w world) lock(ctx context.Context) (*os.File, error) {
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
func (w world) tryLock() (*os.File, error) {
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
func (w world) isLock(f *os.File) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(w.lockFile())
	return err == nil && os.SameFile(a, b)
}
