package lock_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/lock"
)

func gone() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestSecondIsToldOfTheFirst(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "labs", "demo")
	first, err := lock.Take(gone(), folder, "demo", lock.Holder{Verb: "apply", PID: 42, User: "ann", Since: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lock.Take(gone(), folder, "demo", lock.Holder{Verb: "destroy"})
	var busy *lock.BusyError
	if !errors.As(err, &busy) || busy.Holder.PID != 42 || !strings.Contains(err.Error(), "labctl apply, process 42 of ann") {
		t.Fatalf("got %v", err)
	}
	first.Release()
	if _, err := os.Stat(filepath.Dir(folder)); !os.IsNotExist(err) {
		t.Errorf("folders that were made for the lock alone are still there: %v", err)
	}
	second, err := lock.Take(gone(), folder, "demo", lock.Holder{Verb: "destroy"})
	if err != nil {
		t.Fatal(err)
	}
	second.Release()
}

func TestWaiterGetsTheLockOfALabThatWasRemoved(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "demo")
	first, err := lock.Take(gone(), folder, "demo", lock.Holder{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result := make(chan error)
	go func() {
		l, err := lock.Take(ctx, folder, "demo", lock.Holder{Verb: "apply"})
		if err == nil {
			l.Release()
		}
		result <- err
	}()
	time.Sleep(150 * time.Millisecond)
	if err := first.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

func TestReleaseKeepsWhatIsUsed(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "demo")
	l, err := lock.Take(gone(), folder, "demo", lock.Holder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(folder, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.Release()
	if _, err := os.Stat(filepath.Join(folder, "secrets")); err != nil {
		t.Error(err)
	}
}
