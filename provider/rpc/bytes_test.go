package rpc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func dial(t *testing.T, p provider.Provider, port int) io.ReadWriteCloser {
	t.Helper()
	conn, err := p.(provider.Dialer).Dial(t.Context(), provider.Endpoint{Machine: "web", Port: port})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func closeWrite(t *testing.T, c io.ReadWriteCloser) {
	t.Helper()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
}

func TestBytesBothWays(t *testing.T) {
	conn := dial(t, puppetOf(t, launch(t, "puppet")), 7)
	sent := make([]byte, 10<<20)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = conn.Write(sent)
		_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(sent, got) {
		t.Errorf("sent %d bytes, got %d back, %v", len(sent), len(got), err)
	}
}

func TestHalfClose(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	conn := dial(t, p, 9)
	_, _ = conn.Write(make([]byte, 12345))
	closeWrite(t, conn)
	if got, err := io.ReadAll(conn); string(got) != "12345 bytes" || err != nil {
		t.Errorf("after our half-close: %q, %v", got, err)
	}
	if _, err := conn.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("writing after a half-close: %v", err)
	}

	file := filepath.Join(t.TempDir(), "heard")
	other, err := p.(provider.Dialer).Dial(t.Context(), provider.Endpoint{Machine: file, Port: 11})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(other); string(got) != "bye" || err != nil {
		t.Errorf("after its half-close: %q, %v", got, err)
	}
	// What is written before Close arrives, though Close follows at once.
	sent := bytes.Repeat([]byte("z"), 3<<20)
	if _, err := other.Write(sent); err != nil {
		t.Errorf("writing after its half-close: %v", err)
	}
	other.Close()
	for range 100 {
		if b, err := os.ReadFile(file); err == nil && len(b) == len(sent) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	b, err := os.ReadFile(file)
	t.Errorf("of %d bytes written before Close %d arrived (%v)", len(sent), len(b), err)
}

// A peer that does not read makes the writer wait, and nobody else.
func TestBackpressure(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	stuck := dial(t, p, 19)
	wrote := make(chan int)
	go func() {
		n, _ := stuck.Write(make([]byte, 64<<20))
		wrote <- n
	}()
	time.Sleep(500 * time.Millisecond)
	conn := dial(t, p, 9)
	_, _ = conn.Write(make([]byte, 4<<20))
	closeWrite(t, conn)
	if got, err := io.ReadAll(conn); string(got) != "4194304 bytes" || err != nil {
		t.Errorf("beside a stuck stream: %q, %v", got, err)
	}
	begin := time.Now()
	stuck.Close()
	if n := <-wrote; n == 64<<20 {
		t.Error("a peer that does not read took 64 MiB")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("closing a stuck stream took %v", took)
	}
}

func TestDialErrors(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	_, err := p.(provider.Dialer).Dial(t.Context(), provider.Endpoint{Machine: "web", Port: 13})
	wantError(t, err, provider.Unavailable, "connection refused", "web")

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = p.(provider.Dialer).Dial(ctx, provider.Endpoint{Machine: "web", Port: 15})
	wantError(t, err, provider.Timeout, "cannot dial")
}

// The context is for dialing only.
func TestStreamOutlivesContext(t *testing.T) {
	p := puppetOf(t, launch(t, "puppet"))
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := p.(provider.Dialer).Dial(ctx, provider.Endpoint{Machine: "web", Port: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	time.Sleep(50 * time.Millisecond)
	_, _ = conn.Write([]byte("still there?"))
	closeWrite(t, conn)
	if got, err := io.ReadAll(conn); string(got) != "still there?" || err != nil {
		t.Errorf("after its context was canceled: %q, %v", got, err)
	}
}

func TestCrashInAStream(t *testing.T) {
	conn := dial(t, puppetOf(t, launch(t, "puppet")), 20)
	got, err := io.ReadAll(conn)
	wantError(t, err, provider.Crashed, "died: exit status 9")
	if !bytes.HasPrefix([]byte("half a wor"), got) {
		t.Errorf("got %q", got)
	}
	_, err = conn.Write([]byte("x"))
	wantError(t, err, provider.Crashed, "died")
}

func TestConsole(t *testing.T) {
	c := launch(t, "memory")
	p := puppetOf(t, c)
	r := provider.Resource{
		Addr: provider.Addr{Provider: "memory", Kind: "machine", Name: "web"}, Machine: "web",
		Lab: "test", Attrs: provider.Attrs{"power": "on"},
	}
	if err := p.Create(t.Context(), r, provider.Silent); err != nil {
		t.Fatal(err)
	}
	l := lab.Lab{Name: "test"}
	consoler := p.(provider.Consoler)
	log, err := consoler.Log(t.Context(), l, "web", false)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(log)
	if err != nil || !bytes.Contains(text, []byte("boot 1 of web")) {
		t.Errorf("log %q, %v", text, err)
	}
	follow, err := consoler.Log(t.Context(), l, "web", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(follow, make([]byte, len(text))); err != nil {
		t.Error(err)
	}
	ended := make(chan error)
	go func() { _, err := follow.Read(make([]byte, 1)); ended <- err }()
	select {
	case err := <-ended:
		t.Errorf("a followed log ended: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	follow.Close()
	if err := <-ended; err == nil {
		t.Error("Read goes on after Close")
	}
	_, err = consoler.Log(t.Context(), l, "nobody", false)
	wantError(t, err, provider.NotFound, "memory.machine/nobody")

	one, err := consoler.Console(t.Context(), l, "web")
	if err != nil {
		t.Fatal(err)
	}
	_, err = consoler.Console(t.Context(), l, "web")
	wantError(t, err, provider.InUse, "memory.machine/web")
	one.Close()
	two, err := consoler.Console(t.Context(), l, "web")
	if err != nil {
		t.Fatalf("after the first client left: %v", err)
	}
	two.Close()
}
