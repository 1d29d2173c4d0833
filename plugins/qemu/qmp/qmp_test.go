package qmp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
)

// serve answers each line that a client sends with what reply says.
func serve(t *testing.T, greeting string, reply func(line string) string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, greeting)
			for s := bufio.NewScanner(c); s.Scan(); {
				fmt.Fprint(c, reply(s.Text()))
			}
			c.Close()
		}
	}()
	return path
}

const hello = `{"QMP":{"version":{}}}` + "\n"

func TestCommandsAndEvents(t *testing.T) {
	n := 0
	early := `{"event":"NETDEV_STREAM_CONNECTED","data":{"netdev-id":"net.a"}}` + "\n"
	path := serve(t, early+hello, func(line string) string {
		n++
		switch {
		case strings.Contains(line, `"qmp_capabilities"`):
			return fmt.Sprintf(`{"return":{},"id":%d}`+"\n", n)
		case strings.Contains(line, `"query-status"`):
			return fmt.Sprintf(`{"event":"DEVICE_DELETED","data":{"device":"nic.a"}}`+"\n"+`{"return":{"status":"running"},"id":%d}`+"\n", n)
		}
		return fmt.Sprintf(`{"error":{"class":"CommandNotFound","desc":"no such thing"},"id":%d}`+"\n", n)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := qmp.Dial(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.PID() != os.Getpid() {
		t.Errorf("peer is %d, want this process, %d", c.PID(), os.Getpid())
	}
	var st struct{ Status string }
	if err := c.Execute(ctx, "query-status", nil, &st); err != nil || st.Status != "running" {
		t.Fatalf("status %q, %v", st.Status, err)
	}
	if _, err := c.Wait(ctx, "DEVICE_DELETED", func(qmp.Event) bool { return true }); err != nil {
		t.Fatalf("an event that came before it was asked for: %v", err)
	}
	var refused *qmp.Error
	if err := c.Execute(ctx, "nonsense", nil, nil); !errors.As(err, &refused) || refused.Class != "CommandNotFound" || refused.Command != "nonsense" {
		t.Fatalf("refusal: %v", err)
	}
}

func TestSilentQEMU(t *testing.T) {
	path := serve(t, "", func(string) string { return "" })
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := qmp.Dial(ctx, path)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 3*time.Second {
		t.Fatalf("after %s: %v", time.Since(start), err)
	}
}

func TestNobodyThere(t *testing.T) {
	_, err := qmp.Dial(t.Context(), filepath.Join(t.TempDir(), "none"))
	if !qmp.Absent(err) {
		t.Fatalf("not absent: %v", err)
	}
}
