// Package lock makes sure that one labctl at a time changes a lab on this host, and lets the others name the one that
// does.
//
// It must not know what is done while the lock is held.
package lock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Holder says who has a lock.
type Holder struct {
	Verb  string    `json:"verb"`
	PID   int       `json:"pid"`
	User  string    `json:"user"`
	Since time.Time `json:"since"`
}

// BusyError says that someone else has the lock. Holder is zero when it is so new that its owner's name is not there.
type BusyError struct {
	Lab    string
	Holder Holder
}

func (e *BusyError) Error() string {
	if e.Holder.PID == 0 {
		return fmt.Sprintf("lab %s is being changed by another labctl", e.Lab)
	}
	return fmt.Sprintf("lab %s is being changed by labctl %s, process %d of %s, since %s", e.Lab, e.Holder.Verb, e.Holder.PID,
		e.Holder.User, e.Holder.Since.Local().Format("2006-01-02 15:04:05"))
}

// Lock is a lock that is held. The kernel lets go of it when the process ends, however that happens.
type Lock struct {
	file *os.File
	made []string // folders that Take made, outermost first
}

// Take takes the lock in folder, which it makes if need be, for the lab called lab. If it is taken it tries until ctx
// is done, then returns a *BusyError.
func Take(ctx context.Context, folder, lab string, h Holder) (*Lock, error) {
	for {
		l, err := try(folder)
		if err != nil {
			return nil, err
		}
		if l != nil {
			return l, l.sign(h)
		}
		select {
		case <-ctx.Done():
			return nil, &BusyError{Lab: lab, Holder: read(filepath.Join(folder, "lock"))}
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// try returns nil if the lock is taken. A lab that was destroyed leaves without its lock file: a lock on a file that
// is no longer there is worth nothing, and the next one is tried.
func try(folder string) (*Lock, error) {
	for {
		made, err := makeFolder(folder)
		if err != nil {
			return nil, fmt.Errorf("cannot make the lab's folder: %w", err)
		}
		f, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
		if errors.Is(err, fs.ErrNotExist) { // the folder went away again
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot lock the lab: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, nil
			}
			return nil, fmt.Errorf("cannot lock %s: %w", f.Name(), err)
		}
		mine, err1 := f.Stat()
		there, err2 := os.Stat(f.Name())
		if err1 == nil && err2 == nil && os.SameFile(mine, there) {
			return &Lock{file: f, made: made}, nil
		}
		f.Close()
	}
}

// makeFolder makes folder and returns those that were missing, outermost first.
func makeFolder(folder string) ([]string, error) {
	var made []string
	for p := folder; ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); err == nil || p == filepath.Dir(p) {
			break
		}
		made = append([]string{p}, made...)
	}
	return made, os.MkdirAll(folder, 0o700)
}

func (l *Lock) sign(h Holder) error {
	b, err := json.Marshal(h)
	if err == nil {
		err = l.file.Truncate(0)
	}
	if err == nil {
		_, err = l.file.WriteAt(append(b, '\n'), 0)
	}
	if err != nil {
		l.file.Close()
		return fmt.Errorf("cannot write %s: %w", l.file.Name(), err)
	}
	return nil
}

func read(path string) Holder {
	var h Holder
	b, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(b, &h) != nil {
		return Holder{}
	}
	return h
}

// Release lets go of the lock. What Take had to make and nobody has used since is taken away again.
func (l *Lock) Release() {
	if len(l.made) > 0 {
		if entries, err := os.ReadDir(filepath.Dir(l.file.Name())); err == nil && len(entries) == 1 {
			_ = os.Remove(l.file.Name())
			for i := len(l.made) - 1; i >= 0; i-- {
				_ = os.Remove(l.made[i]) // fails, as it should, where something is inside
			}
		}
	}
	l.file.Close()
}

// Remove takes the lock's folder away with everything in it, and lets go.
func (l *Lock) Remove() error {
	folder := filepath.Dir(l.file.Name())
	err := os.RemoveAll(folder)
	l.file.Close()
	if err != nil {
		return fmt.Errorf("cannot remove the lab's folder: %w", err)
	}
	_ = os.Remove(filepath.Dir(folder)) // fails, as it should, where other labs are
	return nil
}
