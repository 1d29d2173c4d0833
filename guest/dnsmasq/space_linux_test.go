package dnsmasq_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/guest/dnsmasq"
	"github.com/labctl-dev/labctl/lab"
)

// space is a network namespace without a name, so that nothing is left of it when the test dies: the router's
// interfaces and, at the other ends of their cables, its clients'. It lives on one thread.
type space struct {
	t    *testing.T
	jobs chan func()
	dir  string
	stop func() // ends the running dnsmasq
	// patience is how often a question is asked again, half a second apart. dnsmasq itself takes three seconds to see
	// that nobody has the address that it is about to give a stranger.
	patience int
	asked    uint32 // questions by DHCPv4 so far: each has a number of its own
}

func newSpace(t *testing.T) *space {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("makes a network namespace, which needs root")
		}
		t.Skip("makes a network namespace, which needs root")
	}
	s := &space{t: t, jobs: make(chan func()), dir: t.TempDir(), stop: func() {}, patience: 40}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		failed <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.jobs {
			f()
		}
	}()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.stop(); close(s.jobs) })
	return s
}

// inside runs f in the namespace. What it opens or starts stays there.
func (s *space) inside(f func()) {
	done := make(chan struct{})
	s.jobs <- func() { defer close(done); f() }
	<-done
}

func (s *space) run(line string) string {
	s.t.Helper()
	var out []byte
	var err error
	s.inside(func() { out, err = exec.Command("sh", "-ec", line).CombinedOutput() })
	if err != nil {
		s.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// serve starts dnsmasq with what is made for a router, but for the paths and the user.
func (s *space) serve(l lab.Lab, router string) {
	s.t.Helper()
	files, err := made(s.t, l, router)
	if err != nil {
		s.t.Fatal(err)
	}
	hosts, conf := filepath.Join(s.dir, "hosts"), filepath.Join(s.dir, "conf")
	text := strings.NewReplacer("user=dnsmasq", "user=root", dnsmasq.HostsPath, hosts, "/var/lib/labctl-dnsmasq", s.dir).Replace(files.Config)
	for file, text := range map[string]string{hosts: files.Hosts, conf: text} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	var log bytes.Buffer
	cmd := exec.Command(program(s.t), "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file="+conf)
	cmd.Stdout, cmd.Stderr = &log, &log
	s.inside(func() { err = cmd.Start() })
	if err != nil {
		s.t.Fatal(err)
	}
	s.stop = func() {
		s.stop = func() {}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Log(log.String())
		}
	}
}

// resolver asks a server.
func (s *space) resolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (conn net.Conn, err error) {
		s.inside(func() { conn, err = net.Dial(network, net.JoinHostPort(server, "53")) })
		return conn, err
	}}
}

// listen is a UDP socket on one interface.
func (s *space) listen(network, addr, device string) net.PacketConn {
	s.t.Helper()
	var conn net.PacketConn
	var err error
	s.inside(func() {
		c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
			var err error
			if e := raw.Control(func(fd uintptr) {
				if err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device); err == nil {
					err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1)
				}
			}); e != nil {
				return e
			}
			return err
		}}
		conn, err = c.ListenPacket(s.t.Context(), network, addr)
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return conn
}

// exchange sends until there is an answer to it: one that has the bytes from one place to another, the question's number,
// in common with it. A late answer to the question before is none.
func (s *space) exchange(conn net.PacketConn, to net.Addr, packet []byte, from, end int) []byte {
	s.t.Helper()
	defer conn.Close()
	b := make([]byte, 2000)
	for range s.patience {
		if _, err := conn.WriteTo(packet, to); err != nil {
			s.t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				break
			}
			if n >= end && bytes.Equal(b[from:end], packet[from:end]) {
				return b[:n]
			}
		}
	}
	return nil
}

// dhcp4 is a client's question and the answer: the address it is given and the options, by number (RFC 2131, 2132).
func (s *space) dhcp4(device, mac string, kind byte, wish netip.Addr) (netip.Addr, map[byte][]byte) {
	s.t.Helper()
	hw, err := net.ParseMAC(mac)
	if err != nil {
		s.t.Fatal(err)
	}
	p := make([]byte, 240)
	p[0], p[1], p[2] = 1, 1, 6
	s.asked++
	binary.BigEndian.PutUint32(p[4:], 0x12345600+s.asked)
	p[10] = 0x80 // answer by broadcast: nobody here has the address yet
	copy(p[28:], hw)
	copy(p[236:], []byte{99, 130, 83, 99})
	p = append(p, 53, 1, kind, 55, 7, 1, 3, 6, 15, 26, 119, 121)
	if wish.IsValid() {
		p = append(append(p, 50, 4), wish.AsSlice()...)
	}
	answer := s.exchange(s.listen("udp4", "0.0.0.0:68", device), &net.UDPAddr{IP: net.IPv4bcast, Port: 67}, append(p, 255), 4, 8)
	if len(answer) < 240 {
		return netip.Addr{}, nil
	}
	options := map[byte][]byte{}
	for rest := answer[240:]; len(rest) > 1 && rest[0] != 255; {
		if rest[0] == 0 {
			rest = rest[1:]
			continue
		}
		options[rest[0]] = rest[2 : 2+rest[1]]
		rest = rest[2+rest[1]:]
	}
	a, _ := netip.AddrFromSlice(answer[16:20])
	return a, options
}

// dhcp6 solicits an address (RFC 8415) for a client that calls itself by a DUID; the zero Addr if it gets none.
func (s *space) dhcp6(device, duid string) netip.Addr {
	s.t.Helper()
	id, err := hex.DecodeString(strings.ReplaceAll(duid, ":", ""))
	if err != nil {
		s.t.Fatal(err)
	}
	p := append([]byte{1, 0x12, 0x34, 0x56, 0, 1, 0, byte(len(id))}, id...)
	p = append(p, 0, 14, 0, 0, 0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0) // rapid commit; an address
	answer := s.exchange(s.listen("udp6", "[::]:546", device), &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Zone: device, Port: 547}, p, 1, 4)
	for rest := answer[min(4, len(answer)):]; len(rest) >= 4; {
		code, size := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if code == 3 && size > 16 && binary.BigEndian.Uint16(rest[16:]) == 5 {
			a, _ := netip.AddrFromSlice(rest[20:36])
			return a
		}
		rest = rest[4+size:]
	}
	return netip.Addr{}
}
