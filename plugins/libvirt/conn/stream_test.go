package conn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
)

// content is n bytes that do not repeat.
func content(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// volume makes a volume in a pool, with the pool.
func volume(t *testing.T, d *libvirttest.Daemon, dir, name, size string) libvirt.StorageVol {
	t.Helper()
	if !strings.Contains(d.Virsh("pool-list", "--name"), "pool") {
		d.Virsh("pool-create-as", "pool", "dir", "--target", dir)
	}
	d.Virsh("vol-create-as", "pool", name, size, "--allocation", "0")
	return libvirt.StorageVol{Pool: "pool", Name: name, Key: filepath.Join(dir, name)}
}

func TestUpload(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{})
	dir := filepath.Join(d.Dir, "labctl")
	var wg sync.WaitGroup
	for i, size := range []int{0, 1, 262120, 262121, 5_000_000, 20_000_000} {
		vol := volume(t, d, dir, fmt.Sprint("v", i), "32M")
		data := content(size)
		wg.Go(func() {
			if err := h.Upload(t.Context(), vol, iotest.HalfReader(bytes.NewReader(data)), 0); err != nil {
				t.Errorf("%d bytes: %v", size, err)
				return
			}
			var got bytes.Buffer
			if err := h.Download(t.Context(), vol, &got, 0); err != nil {
				t.Errorf("%d bytes: %v", size, err)
			}
			if !bytes.HasPrefix(got.Bytes(), data) {
				t.Errorf("%d bytes did not come back", size)
			}
			got.Reset()
			if err := h.Download(t.Context(), vol, &got, 1000); err != nil || !bytes.HasPrefix(got.Bytes(), data[:min(1000, size)]) || got.Len() > 1000 {
				t.Errorf("%d bytes: only a thousand: %d, %v", size, got.Len(), err)
			}
		})
	}
	wg.Wait()
}

// TestUploadFails has each thing that can go wrong; none may hang, and each error says what it was.
func TestUploadFails(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		h := open(t, "qemu:///system", conn.Options{Patience: time.Millisecond})
		small := d.Small(t, "1m")
		vol := volume(t, d, small, "v", "8M")
		tiny := volume(t, d, small, "tiny", "4k")
		upload := func(ctx context.Context, vol libvirt.StorageVol, r io.Reader, length uint64) error {
			t.Helper()
			began := time.Now()
			err := h.Upload(ctx, vol, r, length)
			if time.Since(began) > 20*time.Second {
				t.Errorf("it took %s", time.Since(began))
			}
			t.Log(err)
			return err
		}
		for range 50 { // libvirtd itself does not always notice
			if err := h.Upload(t.Context(), vol, io.MultiReader(bytes.NewReader(content(4<<20)), bytes.NewReader(make([]byte, 1<<20))), 0); provider.CodeOf(err) != provider.Full || !strings.Contains(err.Error(), "upload volume v: ") {
				t.Errorf("a full pool: %s: %v", provider.CodeOf(err), err)
			}
			if err := os.Truncate(filepath.Join(small, "v"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := upload(t.Context(), libvirt.StorageVol{Pool: "pool", Name: "none", Key: "/none"}, bytes.NewReader(nil), 0); provider.CodeOf(err) != provider.NotFound {
			t.Errorf("no volume: %s: %v", provider.CodeOf(err), err)
		}
		if err := upload(t.Context(), tiny, bytes.NewReader(content(100_000)), 4096); err == nil {
			t.Error("more than length was taken")
		}
		odd := errors.New("odd")
		if err := upload(t.Context(), tiny, io.MultiReader(bytes.NewReader(content(1000)), iotest.ErrReader(odd)), 0); !errors.Is(err, odd) {
			t.Errorf("a broken source: %v", err)
		}
		if err := upload(t.Context(), tiny, io.MultiReader(bytes.NewReader(content(1000)), iotest.ErrReader(io.ErrUnexpectedEOF)), 0); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("a source that ends too early: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		slow := readerFunc(func(b []byte) (int, error) {
			cancel()
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if err := upload(ctx, tiny, slow, 0); provider.CodeOf(err) != provider.Canceled {
			t.Errorf("canceled: %v", err)
		}
		killed := false
		endless := readerFunc(func(b []byte) (int, error) {
			if !killed {
				killed = true
				d.Kill()
			}
			return min(len(b), 1000), nil
		})
		if err := upload(t.Context(), tiny, endless, 0); provider.CodeOf(err) != provider.Unavailable {
			t.Errorf("libvirtd killed: %s: %v", provider.CodeOf(err), err)
		}
		if err := upload(t.Context(), tiny, endless, 0); provider.CodeOf(err) != provider.Unavailable {
			t.Errorf("libvirtd dead: %s: %v", provider.CodeOf(err), err)
		}
		d.Resume()
		d.Hang()
		h = open(t, "qemu:///system", conn.Options{Alive: 600 * time.Millisecond, Connect: 300 * time.Millisecond})
		if err := upload(t.Context(), tiny, bytes.NewReader(nil), 0); provider.CodeOf(err) != provider.Unavailable {
			t.Errorf("libvirtd hangs: %s: %v", provider.CodeOf(err), err)
		}
		d.Unhang()
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// echo is a boot sector that sends back what comes on the first serial port, one letter further.
var echo = append(append([]byte{
	0xba, 0xfd, 0x03, // mov dx, 0x3fd
	0xec,       // in al, dx
	0xa8, 0x01, // test al, 1
	0x74, 0xf8, // jz to the first
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xec,       // in al, dx
	0xfe, 0xc0, // inc al
	0xee,       // out dx, al
	0xeb, 0xef, // jmp to the first
}, make([]byte, 510-17)...), 0x55, 0xaa)

func TestConsole(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{})
	disk, xml := filepath.Join(d.Dir, "labctl", "disk"), filepath.Join(t.TempDir(), "d.xml")
	if err := os.WriteFile(disk, append(echo, make([]byte, 1<<20)...), 0o666); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(xml, fmt.Appendf(nil, `<domain type='qemu'><name>d</name><memory unit='MiB'>32</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='%s'/><target dev='vda'/></disk><serial type='pty'/></devices></domain>`, disk), 0o600)
	d.Virsh("create", xml)
	var dom libvirt.Domain
	err := h.Ask(t.Context(), "find d", func(l *libvirt.Libvirt) (err error) { dom, err = l.DomainLookupByName("d"); return err })
	if err != nil {
		t.Fatal(err)
	}
	c, err := h.Console(t.Context(), dom, "", false)
	if err != nil {
		t.Fatal(err)
	}
	// The machine boots meanwhile: it is told until it answers.
	answered := make(chan string, 1)
	go func() {
		var said []byte
		for b := make([]byte, 3); ; {
			n, err := c.Read(b)
			if said = append(said, b[:n]...); err != nil || bytes.Contains(said, []byte("bcd")) {
				answered <- fmt.Sprintf("%s %v", said, err)
				return
			}
		}
	}()
	for end := time.Now().Add(60 * time.Second); ; {
		if _, err := c.Write([]byte("abc")); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-answered:
			if !strings.Contains(got, "bcd") || !strings.HasSuffix(got, " <nil>") {
				t.Errorf("the console said %q", got)
			}
		case <-time.After(300 * time.Millisecond):
			if time.Now().Before(end) {
				continue
			}
			t.Fatal("no answer on the console after 60s")
		}
		break
	}
	// A second client is refused, or takes it away.
	if _, err := h.Console(t.Context(), dom, "", false); provider.CodeOf(err) != provider.InUse {
		t.Errorf("a second console: %s: %v", provider.CodeOf(err), err)
	}
	second, err := h.Console(t.Context(), dom, "", true)
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { defer close(gone); io.Copy(io.Discard, c) }()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Error("the first console goes on")
	}
	c.Close()
	// Closing ends a reader; so does the machine's end.
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, second); ended <- err }()
	time.Sleep(50 * time.Millisecond)
	second.Close()
	if diff := cmp.Diff(nil, <-ended); diff != "" {
		t.Error(diff)
	}
	third, err := h.Console(t.Context(), dom, "", true)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	go func() { _, err := io.Copy(io.Discard, third); ended <- err }()
	d.Virsh("destroy", "d")
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the console outlives its machine")
	}
	if _, err := h.Console(t.Context(), dom, "", false); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("a console of nothing: %s: %v", provider.CodeOf(err), err)
	}
}

// TestEarly downloads something small very often: what libvirtd sends before it answers the call that opened the
// stream is not lost.
func TestEarly(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{})
	vol := volume(t, d, filepath.Join(d.Dir, "labctl"), "small", "20K")
	for i := range 400 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var got bytes.Buffer
		err := h.Download(ctx, vol, &got, 0)
		cancel()
		if err != nil || got.Len() != 20*1024 {
			t.Fatalf("download %d: %d bytes, %v", i, got.Len(), err)
		}
	}
}
