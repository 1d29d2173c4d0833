package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// faults makes calls slow, fail, hang or die where the options say so. See options.cue.
type faults struct {
	delay             time.Duration
	crash, kill, hang moment
	foreign           map[string]bool

	mu      sync.Mutex
	fail    map[string]string
	changes int // creates, updates and deletes begun
}

// moment is a point in time next to an operation; the zero one never comes.
type moment struct {
	after bool
	op    string
}

func newFaults(values map[string]any) (*faults, error) {
	var o struct {
		Delay             string
		Fail              map[string]string
		Crash, Kill, Hang string
		Foreign           []string
	}
	b, err := json.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	f := &faults{crash: momentOf(o.Crash), kill: momentOf(o.Kill), hang: momentOf(o.Hang), fail: o.Fail, foreign: map[string]bool{}}
	if o.Delay != "" {
		if f.delay, err = time.ParseDuration(o.Delay); err != nil {
			return nil, fmt.Errorf("options: delay: %w", err)
		}
	}
	for _, a := range o.Foreign {
		f.foreign[a] = true
	}
	return f, nil
}

func momentOf(s string) moment {
	if op, ok := strings.CutPrefix(s, "after "); ok {
		return moment{true, op}
	}
	return moment{false, strings.TrimPrefix(s, "before ")}
}

// change is asked before each create, update and delete; what it returns is called afterwards.
func (f *faults) change(ctx context.Context, op string, a provider.Addr) (after func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-time.After(f.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f.mu.Lock()
	f.changes++
	count := "change " + strconv.Itoa(f.changes)
	f.mu.Unlock()
	after, err = f.at(ctx, op+" "+a.String(), count)
	if err == nil && op == "create" && f.foreign[a.String()] {
		return nil, &provider.Error{Code: provider.Foreign, Text: "the name is taken by an object that is not labctl's"}
	}
	return after, err
}

// expand is Expand's part, which has no context.
func (f *faults) expand() error {
	_, err := f.at(context.Background(), "expand")
	return err
}

// at does what is to happen before an operation, known by any of the names; what it returns is called afterwards.
func (f *faults) at(ctx context.Context, ops ...string) (after func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f.strike(false, ops)
	if code := f.failure(ops); code != "" {
		return nil, &provider.Error{Code: provider.Code(code), Text: "the target's options say so"}
	}
	return func() { f.strike(true, ops) }, nil
}

func (f *faults) strike(after bool, ops []string) {
	for _, op := range ops {
		now := moment{after, op}
		if f.hang == now {
			select {}
		}
		if f.kill == now {
			_ = syscall.Kill(os.Getppid(), syscall.SIGKILL)
		}
		if f.kill == now || f.crash == now {
			fmt.Fprintf(os.Stderr, "memory: dying as told, at %q\n", op)
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}

// failure is the code that an operation fails with, "" if it does not; "CODE*N" wears out.
func (f *faults) failure(ops []string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, op := range ops {
		code, times, ok := strings.Cut(f.fail[op], "*")
		if !ok {
			if code != "" {
				return code
			}
			continue
		}
		if n, _ := strconv.Atoi(times); n > 0 {
			f.fail[op] = code + "*" + strconv.Itoa(n-1)
			return code
		}
	}
	return ""
}
