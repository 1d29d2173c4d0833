package uri_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
)

// driver connects and asks what is there: "QEMU" or "TEST".
func driver(t *testing.T, text string) (string, error) {
	t.Helper()
	h, err := conn.Open(text, conn.Options{Connect: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var got string
	err = h.Ask(t.Context(), "ask for the driver", func(l *libvirt.Libvirt) (err error) {
		got, err = l.ConnectGetType()
		return err
	})
	return got, err
}

type attempt struct {
	name, uri string
	code      provider.Code // "" is success
	says      string
}

func try(t *testing.T, attempts []attempt) {
	t.Helper()
	for _, a := range attempts {
		t.Run(a.name, func(t *testing.T) {
			want := "QEMU"
			if strings.HasPrefix(a.uri, "test") {
				want = "TEST"
			}
			got, err := driver(t, a.uri)
			switch {
			case a.code == "" && (err != nil || got != want):
				t.Errorf("%s: %q, %v", a.uri, got, err)
			case a.code != "" && (provider.CodeOf(err) != a.code || !strings.Contains(err.Error(), a.says)):
				t.Errorf("%s: %s: %v; want %s: %s", a.uri, provider.CodeOf(err), err, a.code, a.says)
			case err != nil:
				t.Log(err)
			}
		})
	}
}

func TestUnix(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		try(t, []attempt{
			{"system", "qemu:///system", "", ""},
			{"session of root", "qemu:///session", "", ""},
			{"socket", "qemu+unix:///system?socket=" + d.Socket, "", ""},
			{"test", "test:///default", "", ""},
			{"legacy", "qemu:///system?mode=legacy", "", ""},
			{"direct", "qemu:///system?mode=direct", provider.Missing, "virtqemud"},
			{"wrong socket", "qemu:///system?socket=/nowhere", provider.Unavailable, "nobody listens on /nowhere"},
			{"unknown driver", "qemu:///system?name=nonsense:///system", provider.Unavailable, "no connection driver available"},
		})
		// A modular daemon's socket goes first.
		if err := os.Symlink("libvirt-sock", "/run/libvirt/virtqemud-sock"); err != nil {
			t.Fatal(err)
		}
		try(t, []attempt{{"modular", "qemu:///system?mode=direct", "", ""}})
		os.Remove("/run/libvirt/virtqemud-sock")
		d.Kill()
		try(t, []attempt{{"dead", "qemu:///system", provider.Unavailable, "libvirt is not running: nobody listens on /run/libvirt/libvirt-sock"}})
	})
}

// TestNobody connects as a user who may not, and as one whose own libvirtd is not running yet.
func TestNobody(t *testing.T) {
	if text := os.Getenv("URI_TEST"); text != "" { // this process is that user's
		got, err := driver(t, text)
		fmt.Printf("result %q %s %v\n", got, provider.CodeOf(err), err)
		return
	}
	d := libvirttest.Start(t, libvirttest.Config{})
	home, err := os.MkdirTemp(d.Dir, "user")
	if err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("chown", "nobody", home).Run(); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(d.Dir, "uri.test") // where nobody can read it
	bin, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(self, bin, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ uri, want string }{
		{"qemu:///system", `result "" denied you may not use /run/libvirt/libvirt-sock: it is for root`},
		{"qemu:///session", `result "QEMU"`},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := d.Command(ctx, "setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups", self, "-test.run=^TestNobody$", "-test.v")
		cmd.Env = append(cmd.Env, "URI_TEST="+c.uri, "HOME="+home, "XDG_RUNTIME_DIR="+home, "TMPDIR="+home)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%s: %v: %s; want %s", c.uri, err, out, c.want)
		}
		t.Logf("%s", out)
	}
}

func TestSSH(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) {
		s := d.SSHD(t)
		with := func(config string) string { // a user whose config says this before all else
			rest, err := os.ReadFile(s.Config)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			path := filepath.Join(dir, "config")
			if err := os.WriteFile(path, []byte(config+"\n"+string(rest)), 0o600); err != nil {
				t.Fatal(err)
			}
			program := filepath.Join(dir, "ssh")
			if err := os.WriteFile(program, []byte("#!/bin/sh\nexec /usr/bin/ssh -F "+path+" \"$@\"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			return "command=" + program
		}
		other := filepath.Join(t.TempDir(), "known_hosts")
		changed, _ := os.ReadFile(s.Key + ".pub") // somebody's key, but not this host's
		if err := os.WriteFile(other, []byte("127.0.0.1 "+string(changed)), 0o600); err != nil {
			t.Fatal(err)
		}
		useradd(t, "alice")
		ok := "command=" + s.Command
		try(t, []attempt{
			{"helper", "qemu+ssh://root@127.0.0.1/system?" + ok, "", ""},
			{"alias in the config", "qemu+ssh://cuda/system?" + with("Host cuda\nHostName 127.0.0.1\nUser root\nHostKeyAlias 127.0.0.1"), "", ""},
			{"port", "qemu+ssh://root@127.0.0.1:22/system?" + ok, "", ""},
			{"keyfile", "qemu+ssh://root@127.0.0.1/system?" + with("IdentityFile /nowhere") + "&keyfile=" + s.Key, "", ""},
			{"netcat", "qemu+ssh://root@127.0.0.1/system?proxy=netcat&" + ok, "", ""},
			{"another netcat", "qemu+ssh://root@127.0.0.1/system?netcat=/usr/bin/nc.openbsd&" + ok, "", ""},
			{"socket", "qemu+ssh://root@127.0.0.1/system?socket=" + d.Socket + "&" + ok, "", ""},
			{"test", "test+ssh://root@127.0.0.1/default?proxy=netcat&" + ok, "", ""},
			{"no_verify", "qemu+ssh://root@127.0.0.1/system?no_verify=1&" + with("UserKnownHostsFile "+filepath.Join(t.TempDir(), "empty")), "", ""},
			{"session of a user", "qemu+ssh://alice@127.0.0.1/session?" + ok, "", ""},
			{"unknown host key", "qemu+ssh://root@127.0.0.1/system?" + with("UserKnownHostsFile none"), provider.Denied, "the host key of 127.0.0.1 is not known: connect once by hand and check it: ssh root@127.0.0.1"},
			{"changed host key", "qemu+ssh://root@127.0.0.1/system?" + with("UserKnownHostsFile "+other), provider.Denied, "the host key of 127.0.0.1 has changed"},
			{"wrong user", "qemu+ssh://stranger@127.0.0.1/system?" + ok, provider.Denied, "ssh may not log in as stranger@127.0.0.1"},
			{"wrong key", "qemu+ssh://root@127.0.0.1/system?" + with("IdentityFile /nowhere\nIdentitiesOnly yes\nPubkeyAuthentication no"), provider.Denied, "ssh may not log in as root@127.0.0.1"},
			{"no such host", "qemu+ssh://nowhere.invalid/system?" + ok, provider.NotFound, "no such host: nowhere.invalid"},
			{"refused", "qemu+ssh://root@127.0.0.1:9/system?" + ok, provider.Unavailable, "the connection is refused"},
			{"no permission for libvirt", "qemu+ssh://alice@127.0.0.1/system?proxy=netcat&" + ok, provider.Denied, "alice may not use libvirt's socket on 127.0.0.1"},
			{"no permission through the helper", "qemu+ssh://alice@127.0.0.1/system?" + ok, provider.Denied, "may not use libvirt's socket"},
			{"no netcat", "qemu+ssh://root@127.0.0.1/system?netcat=nonsuch&" + ok, provider.NotFound, "neither virt-ssh-helper nor nc"},
			{"wrong socket", "qemu+ssh://root@127.0.0.1/system?socket=/nowhere&" + ok, provider.Unavailable, "libvirt does not answer on 127.0.0.1"},
			{"no ssh", "qemu+ssh://root@127.0.0.1/system?command=nonsuch", provider.Missing, "nonsuch"},
		})
		t.Run("Ctrl-C", func(t *testing.T) {
			h, err := conn.Open("qemu+ssh://root@127.0.0.1/system?"+ok, conn.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			err = h.Do(t.Context(), "look", func(*libvirt.Libvirt) error {
				out, err := exec.Command("ps", "-o", "pgid=,args=", "--ppid", fmt.Sprint(os.Getpid())).Output()
				group := fmt.Sprint(syscall.Getpgrp(), " ")
				for _, line := range strings.Split(string(out), "\n") {
					if strings.Contains(line, "BatchMode") && strings.HasPrefix(strings.TrimSpace(line), group) {
						t.Errorf("it would get the terminal's Ctrl-C: %s", line)
					}
				}
				if !strings.Contains(string(out), "BatchMode") {
					t.Errorf("no ssh among\n%s", out)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
		t.Run("guest", func(t *testing.T) { guests(t, "qemu+ssh://root@127.0.0.1/system?"+ok) })
		d.Kill()
		try(t, []attempt{
			{"dead", "qemu+ssh://root@127.0.0.1/system?" + ok, provider.Unavailable, "libvirt does not answer on 127.0.0.1"},
			{"dead to netcat", "qemu+ssh://root@127.0.0.1/system?proxy=netcat&" + ok, provider.Unavailable, "libvirt does not answer on 127.0.0.1"},
		})
		os.Remove(d.Socket)
		try(t, []attempt{{"not running", "qemu+ssh://root@127.0.0.1/system?proxy=netcat&" + ok, provider.Unavailable, "libvirt is not running on 127.0.0.1"}})
	})
}

// useradd adds a user to what this host sees.
func useradd(t *testing.T, name string) {
	t.Helper()
	passwd, err := os.ReadFile("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	home := "/var/lib/labctl/" + name
	copied := filepath.Join(t.TempDir(), "passwd")
	err = os.WriteFile(copied, fmt.Appendf(passwd, "%s:*:60001:65534::%s:/bin/sh\n", name, home), 0o644)
	if err == nil {
		err = os.MkdirAll(home, 0o755)
	}
	if err == nil {
		err = os.Chown(home, 60001, 65534)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "--bind", copied, "/etc/passwd").CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "/etc/passwd").Run() })
}

// guests dials what stands for machines: listeners on a bridge of the host.
func guests(t *testing.T, text string) {
	for _, args := range [][]string{
		{"link", "add", "labguest", "type", "bridge"}, {"addr", "add", "10.99.0.1/24", "dev", "labguest"},
		{"addr", "add", "fe80::99/64", "dev", "labguest", "nodad"}, {"link", "set", "labguest", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v: %s", args, err, out)
		}
	}
	u, err := uri.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		listen string
		first  string // what the machine says first
	}{{"10.99.0.1:0", "SSH-2.0-machine\r\n"}, {"10.99.0.1:0", ""}, {"[fe80::99%labguest]:0", "SSH-2.0-machine\r\n"}, {"[fe80::99%labguest]:0", ""}} {
		l, err := net.Listen("tcp", c.listen)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				s, err := l.Accept()
				if err != nil {
					return
				}
				s.Write([]byte(c.first))
				b := make([]byte, 100)
				n, _ := s.Read(b)
				s.Write(b[:n])
				s.Close()
			}
		}()
		to := netip.AddrPortFrom(netip.MustParseAddrPort(c.listen).Addr(), uint16(l.Addr().(*net.TCPAddr).Port))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		g, err := u.DialGuest(ctx, to)
		if err != nil {
			t.Fatalf("%s: %v", to, err)
		}
		if _, err := g.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		want, got := c.first+"hello", ""
		for b := make([]byte, 7); got != want; {
			n, err := g.Read(b)
			if got += string(b[:n]); err != nil {
				break
			}
		}
		if got != want {
			t.Errorf("%s said %q, want %q", to, got, want)
		}
		g.Close()
		l.Close()
		if _, err = u.DialGuest(ctx, to); provider.CodeOf(err) != provider.Unavailable || !strings.Contains(strings.ToLower(err.Error()), "refuse") {
			t.Errorf("with nobody there: %s: %v", provider.CodeOf(err), err)
		}
		t.Log(err)
		cancel()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err = u.DialGuest(ctx, netip.MustParseAddrPort("10.99.0.77:22")) // a machine that is off
	if code := provider.CodeOf(err); code != provider.Timeout && code != provider.Unavailable || time.Since(began) > 5*time.Second {
		t.Errorf("after %s: %s: %v", time.Since(began), code, err)
	}
}

func TestGuestLocal(t *testing.T) {
	libvirttest.Inside(t, libvirttest.Config{}, func(t *testing.T, d *libvirttest.Daemon) { guests(t, "qemu:///system") })
}

func TestTCP(t *testing.T) {
	c := libvirttest.Config{Args: []string{"--listen"}, Conf: "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nlisten_addr = \"127.0.0.1\"\n"}
	libvirttest.Inside(t, c, func(t *testing.T, d *libvirttest.Daemon) {
		try(t, []attempt{
			{"tcp", "qemu+tcp://127.0.0.1/system", "", ""},
			{"test", "test+tcp://127.0.0.1/default", "", ""},
			{"port", "qemu+tcp://127.0.0.1:16509/system", "", ""},
			{"refused", "qemu+tcp://127.0.0.1:9/system", provider.Unavailable, "nobody answers at 127.0.0.1:9"},
			{"no such host", "qemu+tcp://nowhere.invalid/system", "", ""},
		}[:4])
		_, err := driver(t, "qemu+tcp://nowhere.invalid/system")
		if code := provider.CodeOf(err); code != provider.NotFound && code != provider.Unavailable { // without any name server it is not known
			t.Errorf("%s: %v", code, err)
		}
	})
}

func TestCanceled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, transport := range []string{"tcp", "tls"} {
		h, err := conn.Open("qemu+"+transport+"://"+l.Addr().String()+"/system?", conn.Options{Connect: 300 * time.Millisecond})
		if transport == "tls" {
			h, err = conn.Open("qemu+tls://"+l.Addr().String()+"/system?no_verify=1", conn.Options{Connect: 300 * time.Millisecond})
		}
		if err != nil {
			t.Fatal(err)
		}
		ask := func(l *libvirt.Libvirt) error { return errors.New("not reached") }
		if err := h.Ask(t.Context(), "ask", ask); provider.CodeOf(err) != provider.Unavailable || !strings.Contains(err.Error(), "no answer after 300ms") {
			t.Errorf("%s: %s: %v", transport, provider.CodeOf(err), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if err := h.Ask(ctx, "ask", ask); provider.CodeOf(err) != provider.Canceled {
			t.Errorf("%s: %s: %v", transport, provider.CodeOf(err), err)
		}
	}
}
