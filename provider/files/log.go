package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// Log opens the file into which a machine's console is written, for provider.Consoler. With follow, its reader waits for
// more until ctx ends, it is closed, or the file is deleted.
func Log(ctx context.Context, machine provider.Addr, path string, follow bool) (io.ReadCloser, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &provider.Error{Op: "read console log of", Addr: machine, Code: provider.NotFound, Text: "the machine was never started"}
	case err != nil:
		return nil, provider.Wrap("read console log of", machine, failure.File(err))
	case !follow:
		return f, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	return &follower{ctx: ctx, cancel: cancel, f: f}, nil
}

// follower reads a log that grows. A machine that is started anew begins its log anew, and the follower with it.
type follower struct {
	ctx    context.Context // of the reader's life: Read has none
	cancel context.CancelFunc
	f      *os.File
	at     int64
}

// pollLog is how often a growing log is looked at.
const pollLog = 100 * time.Millisecond

func (r *follower) Read(p []byte) (int, error) {
	for {
		n, err := r.f.ReadAt(p, r.at)
		r.at += int64(n)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if err != nil && err != io.EOF {
			return 0, fmt.Errorf("console log: %w", err)
		}
		if st, err := r.f.Stat(); err == nil && st.Size() < r.at {
			r.at = 0
			continue
		}
		if _, err := os.Stat(r.f.Name()); err != nil { // deleted with its machine
			return 0, io.EOF
		}
		select {
		case <-r.ctx.Done():
			return 0, io.EOF
		case <-time.After(pollLog):
		}
	}
}

// Close ends a Read that waits; the file is closed with it.
func (r *follower) Close() error {
	r.cancel()
	return r.f.Close()
}
