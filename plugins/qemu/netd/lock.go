package netd

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// errLocked says that another process holds the lock.
var errLocked = errors.New("another network process holds the lock")

// holder is what the lock file says of who holds it.
type holder struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"`
}

// lock is the exclusive right to dial a lab's sockets: two processes dialling the same QEMUs would share each port
// without noticing. It ends with the process, however that ends.
type lock struct{ file *os.File }

// acquire takes the lock at path, or returns errLocked at once.
func acquire(path string) (*lock, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errLocked
			}
			return nil, fmt.Errorf("cannot lock %s: %w", path, err)
		}
		// The one before may have removed the file between our opening and locking it.
		mine, err := f.Stat()
		if there, err2 := os.Stat(path); err == nil && err2 == nil && os.SameFile(mine, there) {
			return &lock{f}, nil
		}
		_ = f.Close()
	}
}

// sign writes who holds the lock into it. It is for whoever finds us wedged; a full disk is no reason to fail.
func (l *lock) sign(h holder) {
	b, err := json.Marshal(h)
	if err == nil && l.file.Truncate(0) == nil {
		_, _ = l.file.WriteAt(append(b, '\n'), 0)
	}
}

// release removes the file and gives the lock back, in this order, so that nobody gets a lock on a removed file
// unawares.
func (l *lock) release() {
	_ = os.Remove(l.file.Name())
	_ = l.file.Close()
}

// whoHolds reads the lock file; zero if it does not say.
func whoHolds(path string) holder {
	var h holder
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &h)
	}
	return h
}
