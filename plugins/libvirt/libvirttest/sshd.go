package libvirttest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// SSH is an OpenSSH server on a libvirt host at 127.0.0.1:22, which only the host itself sees, and a user's ssh that
// knows it.
type SSH struct {
	Command    string // the user's ssh program; its folder, first in PATH, makes it simply "ssh"
	Config     string // the user's config; lines at its end count only if nothing above sets the same
	KnownHosts string // has the server's key
	Key        string // the user's private key, which may log in as anybody
}

// SSHD starts the server; once for a Daemon, with which it ends.
func (d *Daemon) SSHD(t testing.TB) SSH {
	t.Helper()
	server, err := find("sshd")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("no OpenSSH server here: %v", err)
	}
	dir, err := os.MkdirTemp(d.Dir, "ssh")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	s := SSH{Command: in("ssh"), Config: in("config"), KnownHosts: in("known_hosts"), Key: in("key")}
	hostKey, userKey := keypair(t, in("host")), keypair(t, s.Key)
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		s.KnownHosts:     "127.0.0.1 " + hostKey,
		in("authorized"): userKey,
		s.Config:         fmt.Sprintf("UserKnownHostsFile %s\nGlobalKnownHostsFile none\nIdentityFile %s\nIdentitiesOnly yes\nIdentityAgent none\n", s.KnownHosts, s.Key),
		in("sshd_config"): fmt.Sprintf("ListenAddress 127.0.0.1:22\nHostKey %[1]s/host\nAuthorizedKeysFile %[1]s/authorized\nStrictModes no\nUsePAM no\n"+
			"PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 50\nPidFile none\n", dir),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(s.Command, []byte("#!/bin/sh\nexec "+quote(ssh)+" -F "+quote(s.Config)+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d.tell("run", server, "-D", "-E", in("log"), "-f", in("sshd_config"))
	t.Cleanup(func() {
		if text, _ := os.ReadFile(in("log")); t.Failed() && len(text) > 0 {
			t.Logf("sshd:\n%s", text)
		}
	})
	d.await("sshd to answer", func() error {
		c, err := d.Dial(t.Context(), "tcp", "127.0.0.1:22")
		if err != nil {
			return err
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err = c.Read(make([]byte, 4)) // "SSH-"
		return err
	})
	return s
}

// keypair makes an ssh key at path and returns the public one.
func keypair(t testing.TB, path string) string {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "libvirttest", "-f", path).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return string(public)
}

// Dial opens a connection inside the host's network, from wherever the test is. address has no names, only numbers.
func (d *Daemon) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if d.here() || os.Getuid() != 0 {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, address)
	}
	return d.dialInto(ctx, network, address)
}
