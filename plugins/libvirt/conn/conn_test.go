package conn_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
)

func open(t *testing.T, uri string, o conn.Options) *conn.Host {
	t.Helper()
	h, err := conn.Open(uri, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

func version(l *libvirt.Libvirt) error {
	v, err := l.ConnectGetLibVersion()
	if err == nil && v == 0 {
		err = errors.New("no version")
	}
	return err
}

const network = `<network><name>%s</name></network>`

// TestLost kills libvirtd under calls of both kinds.
func TestLost(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{})
	ask := func() error { return h.Ask(t.Context(), "ask", version) }
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	// An idle connection that died is not noticed by anybody.
	d.Kill()
	d.Resume()
	if err := ask(); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	// Nor is a libvirtd that is away for a moment.
	d.Kill()
	back := make(chan struct{})
	go func() { defer close(back); time.Sleep(300 * time.Millisecond); d.Resume() }()
	define := func(name string) error {
		return h.Do(t.Context(), "define network "+name, func(l *libvirt.Libvirt) error {
			_, err := l.NetworkDefineXML(fmt.Sprintf(network, name))
			return err
		})
	}
	if err := define("one"); err != nil {
		t.Errorf("while it is away: %v", err)
	}
	<-back
	// A call that may be repeated is, when it dies halfway; another one is reported.
	for _, c := range []struct {
		what  string
		do    func(context.Context, string, conn.Call) error
		tries int32
	}{{"repeat", h.Ask, 2}, {"once", h.Do, 1}} {
		tries := atomic.Int32{}
		err := c.do(t.Context(), c.what, func(l *libvirt.Libvirt) error {
			if err := version(l); err != nil {
				return err
			}
			if tries.Add(1) == 1 {
				d.Kill()
				d.Resume()
			}
			return version(l)
		})
		if c.what == "repeat" && err != nil || c.what == "once" && (provider.CodeOf(err) != provider.Unavailable || !strings.Contains(err.Error(), "once: the other side closed the connection; whether it was done is not known")) {
			t.Errorf("%s: %v", c.what, err)
		}
		if tries.Load() != c.tries {
			t.Errorf("%s was tried %d times, want %d", c.what, tries.Load(), c.tries)
		}
	}
	// One that is away for long is given up, and one that never was there at once.
	d.Kill()
	began := time.Now()
	short := open(t, d.URI, conn.Options{Patience: 500 * time.Millisecond})
	if err := short.Ask(t.Context(), "ask", version); provider.CodeOf(err) != provider.Unavailable || time.Since(began) > 400*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	d.Resume()
	if err := short.Ask(t.Context(), "ask", version); err != nil {
		t.Fatal(err)
	}
	d.Kill()
	began = time.Now()
	if err := short.Ask(t.Context(), "ask", version); provider.CodeOf(err) != provider.Unavailable || time.Since(began) < 500*time.Millisecond {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

// TestHung stops libvirtd: only its silence tells.
func TestHung(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{Alive: 600 * time.Millisecond, Connect: time.Second, Patience: 100 * time.Millisecond})
	if err := h.Ask(t.Context(), "ask", version); err != nil {
		t.Fatal(err)
	}
	// A connection that is idle for longer than that lives on: pings are answered.
	time.Sleep(1200 * time.Millisecond)
	before := clients(t, d)
	if err := h.Do(t.Context(), "ask", version); err != nil {
		t.Fatal(err)
	}
	if after := clients(t, d); after != before {
		t.Errorf("the last client was %s, and is %s", before, after)
	}
	d.Hang()
	began := time.Now()
	err := h.Do(t.Context(), "ask", version)
	if provider.CodeOf(err) != provider.Unavailable || !strings.Contains(err.Error(), "no sign of life for") || time.Since(began) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	// Canceling ends a call that would hang.
	patient := open(t, d.URI, conn.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	began = time.Now()
	if err := patient.Ask(ctx, "ask", version); provider.CodeOf(err) != provider.Canceled || time.Since(began) > 2*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	d.Unhang()
	if err := h.Ask(t.Context(), "ask", version); err != nil {
		t.Errorf("after it went on: %v", err)
	}
}

// clients is the number of the youngest client that libvirtd has.
func clients(t *testing.T, d *libvirttest.Daemon) string {
	t.Helper()
	out, err := d.Command(t.Context(), "virt-admin", "-c", "libvirtd:///system", "client-list", "libvirtd").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestMany has more calls than connections.
func TestMany(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	h := open(t, d.URI, conn.Options{Max: 3})
	var now, most atomic.Int32
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := h.Do(t.Context(), "define", func(l *libvirt.Libvirt) error {
				n := now.Add(1)
				defer now.Add(-1)
				for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				}
				_, err := l.NetworkDefineXML(fmt.Sprintf(network, fmt.Sprint("n", i)))
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most.Load() > 3 {
		t.Errorf("%d calls at once over 3 connections", most.Load())
	}
	if got := len(strings.Fields(d.Virsh("net-list", "--all", "--name"))); got != 30 {
		t.Errorf("%d networks, want 30", got)
	}
	// Waiting for a connection ends with the context.
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	hold := make(chan struct{})
	for range 3 {
		wg.Go(func() { h.Ask(t.Context(), "hold", func(*libvirt.Libvirt) error { <-hold; return nil }) })
	}
	time.Sleep(20 * time.Millisecond)
	if err := h.Ask(ctx, "ask", version); provider.CodeOf(err) != provider.Timeout || !strings.Contains(err.Error(), "waiting for a free connection") {
		t.Errorf("%v", err)
	}
	close(hold)
	wg.Wait()
	h.Close()
	if err := h.Ask(t.Context(), "ask", version); err != nil { // Close is for the idle ones
		t.Error(err)
	}
}

// TestCodes makes a real libvirtd give each error.
func TestCodes(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		h := open(t, "qemu:///system", conn.Options{})
		small := d.Small(t, "1m")
		d.Virsh("pool-create-as", "small", "dir", "--target", small)
		d.Virsh("vol-create-as", "small", "there", "4k")
		const domain = `<domain type='qemu'><name>%s</name><uuid>%s</uuid><memory unit='MiB'>%d</memory><os><type>hvm</type></os><devices>%s</devices></domain>`
		const uuid, other = "1b4f1d0c-0a7c-4f0b-9d5e-0f1f1e1d1c1b", "2b4f1d0c-0a7c-4f0b-9d5e-0f1f1e1d1c1b"
		disk := func(path string) string {
			return "<disk type='file'><source file='" + path + "'/><target dev='vda'/></disk>"
		}
		define := func(xml string) conn.Call {
			return func(l *libvirt.Libvirt) error {
				dom, err := l.DomainDefineXML(xml)
				if err == nil {
					err = l.DomainCreate(dom)
				}
				return err
			}
		}
		var pool libvirt.StoragePool
		if err := h.Ask(t.Context(), "find the pool", func(l *libvirt.Libvirt) (err error) { pool, err = l.StoragePoolLookupByName("small"); return err }); err != nil {
			t.Fatal(err)
		}
		lock := filepath.Join(small, "there")
		for _, c := range []struct {
			name string
			call conn.Call
			code provider.Code
			says string
		}{
			{"domain not found", func(l *libvirt.Libvirt) error { _, err := l.DomainLookupByName("none"); return err }, provider.NotFound, "Domain not found"},
			{"network not found", func(l *libvirt.Libvirt) error { _, err := l.NetworkLookupByName("none"); return err }, provider.NotFound, "Network not found"},
			{"pool not found", func(l *libvirt.Libvirt) error { _, err := l.StoragePoolLookupByName("none"); return err }, provider.NotFound, "Storage pool not found"},
			{"volume not found", func(l *libvirt.Libvirt) error {
				_, err := l.StorageVolLookupByName(pool, "none")
				return err
			}, provider.NotFound, "Storage volume not found"},
			{"bad XML", define("<domain"), provider.Invalid, "XML"},
			{"bad content", func(l *libvirt.Libvirt) error { _, err := l.NetworkDefineXML("<network/>"); return err }, provider.Invalid, "missing name"},
			{"a machine type that is not there", define(`<domain type='qemu'><name>x</name><memory>1024</memory><os><type arch='x86_64' machine='nonsuch'>hvm</type></os></domain>`), provider.Invalid, "No PCI"},
			{"not by this driver", func(l *libvirt.Libvirt) error { return l.InterfaceChangeBegin(0) }, provider.Unsupported, "not supported"},
			{"a machine that runs", define(fmt.Sprintf(domain, "d", uuid, 32, disk(lock))), "", ""},
			{"the same name", define(fmt.Sprintf(domain, "d", other, 32, "")), provider.Foreign, "already exists"},
			{"a disk in use", define(fmt.Sprintf(domain, "e", other, 32, disk(lock))), provider.InUse, "lock"},
			{"no file", define(fmt.Sprintf(domain, "e", other, 32, disk("/nowhere"))), provider.NotFound, "No such file"},
			{"too much memory", define(fmt.Sprintf(domain, "e", other, 1<<40, "")), provider.Full, "memory"},
			{"a full disk", func(l *libvirt.Libvirt) error {
				_, err := l.StorageVolCreateXML(pool, "<volume><name>big</name><capacity unit='MiB'>4</capacity><allocation unit='MiB'>4</allocation></volume>", 0)
				return err
			}, provider.Full, "No space left"},
			{"the same volume", func(l *libvirt.Libvirt) error {
				_, err := l.StorageVolCreateXML(pool, "<volume><name>there</name><capacity>1</capacity></volume>", 0)
				return err
			}, provider.Foreign, "exists already"},
			{"our own", func(l *libvirt.Libvirt) error { return &provider.Error{Code: provider.Corrupt, Text: "mine"} }, provider.Corrupt, "mine"},
			{"wrapped", func(l *libvirt.Libvirt) error {
				_, err := l.DomainLookupByName("none")
				return fmt.Errorf("in passing: %w", err)
			}, provider.NotFound, "in passing: Domain not found"},
			{"unknown", func(l *libvirt.Libvirt) error { return errors.New("odd") }, provider.Internal, "unknown: odd"},
		} {
			t.Run(c.name, func(t *testing.T) {
				err := h.Do(t.Context(), c.name, c.call)
				if provider.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
					t.Errorf("%q: %v; want %q: %s", provider.CodeOf(err), err, c.code, c.says)
				}
				t.Log(err)
			})
		}
		err := h.Ask(t.Context(), "look", func(l *libvirt.Libvirt) error { _, err := l.DomainLookupByName("none"); return err })
		if !conn.Is(err, libvirt.ErrNoNetwork, libvirt.ErrNoDomain) || conn.Is(err, libvirt.ErrNoNetwork) || conn.Is(nil, libvirt.ErrNoDomain) {
			t.Errorf("%v is not known for what it is", err)
		}
	})
}
