package netd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// freePort is a port of the host's loopback that nobody has.
func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// through is what the server behind a port of the host says.
func through(t *testing.T, at netip.AddrPort) string {
	t.Helper()
	c, err := net.DialTimeout("tcp", at.String(), 5*time.Second)
	if err != nil {
		return "closed"
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	if _, err := io.WriteString(c, "x"); err != nil {
		return "reset"
	}
	_ = c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	if err != nil && errors.Is(err, syscall.ECONNRESET) {
		return "reset"
	}
	return strings.TrimSuffix(string(b), "\nbye after 1ns")
}

// TestForward leads ports of the host to machines, elsewhere, to nobody, and nowhere any more.
func TestForward(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := freePort(t), freePort(t)
	to := func(at netip.AddrPort, addr string) Forward {
		return Forward{Listen: at, To: netip.MustParseAddrPort(addr), Machine: "web"}
	}
	lan := Network{Name: "lan", CIDR: office, Uplink: true, Forward: []Forward{to(one, "10.20.0.10:80"), to(two, "10.20.0.10:22")}}
	w.set(lan, Network{Name: "other", CIDR: office})
	web, db := w.guest("lan", "a", "10.20.0.10"), w.guest("other", "a", "10.20.0.10")
	web.listenTCP(netip.IPv4Unspecified(), 80, "web")
	db.listenTCP(netip.IPv4Unspecified(), 80, "db")
	web.tell(netip.MustParseAddr("10.20.0.10"), 81)
	db.tell(netip.MustParseAddr("10.20.0.10"), 81)
	expect := func(when string, at netip.AddrPort, want string) {
		t.Helper()
		if got := through(t, at); got != want {
			t.Errorf("%s: %s says %q, want %q", when, at, got, want)
		}
	}
	expect("open", one, "web")
	expect("nobody listens", two, "reset")
	if diff := len(w.network("lan").Network.Forward); diff != 2 {
		t.Errorf("%d forwards come back", diff)
	}
	lasting, err := net.Dial("tcp", one.String())
	if err != nil {
		t.Fatal(err)
	}
	hello := make([]byte, 4)
	if _, err := io.ReadFull(lasting, hello); err != nil || string(hello) != "web\n" {
		t.Fatalf("%q, %v", hello, err)
	}

	lan.Forward = []Forward{to(one, "10.20.0.10:81")} // one leads elsewhere, two is closed
	w.set(lan)
	expect("led elsewhere", one, lab.Gateway(office).String())
	expect("taken away", two, "closed")
	if got := converse(t, lasting, "x"); got != "bye after 1ns" {
		t.Errorf("an open connection did not last: %q", got)
	}

	other := Network{Name: "other", CIDR: office, Forward: lan.Forward}
	w.set(other) // moves, before the first network is told
	expect("on another network", one, lab.Door(office).String())
	if got := w.network("lan").Network.Forward; len(got) != 0 {
		t.Errorf("the first network still has %v", got)
	}
	lan.Forward = nil
	w.set(lan)
	expect("the first network is told", one, lab.Door(office).String())

	lasting, err = net.Dial("tcp", one.String())
	if err != nil {
		t.Fatal(err)
	}
	w.set(Network{Name: "other", CIDR: office})
	expect("taken away", one, "closed")
	_ = lasting.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, lasting); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection of a port that is taken away stays open: %v", err)
	}
	w.set(other)
	expect("back", one, lab.Door(office).String())
	w.stop()
	expect("after the end", one, "closed")
}

// TestForwardTaken names the port that the host does not give, and changes nothing.
func TestForwardTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	free := freePort(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).AddrPort()
	to := netip.MustParseAddrPort("10.20.0.10:80")
	for _, tt := range []struct {
		listen netip.AddrPort
		code   Code
		want   string
	}{
		{taken, InUse, fmt.Sprintf("cannot forward %s to web:80: another program on this host has the port", taken)},
		{netip.MustParseAddrPort("192.0.2.1:8080"), Invalid, "cannot forward 192.0.2.1:8080 to web:80: this host does not have the address"},
	} {
		n := Network{Name: "lan", Key: "lan", MTU: 1500, CIDR: office, Forward: []Forward{{Listen: free, To: to}, {Listen: tt.listen, To: to, Machine: "web"}}}
		w.set(Network{Name: "lan", CIDR: office})
		err := w.Set(t.Context(), n)
		if CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
		if got := w.network("lan").Network.Forward; len(got) != 0 {
			t.Errorf("after the error there is %v", got)
		}
		if got := through(t, free); got != "closed" {
			t.Errorf("the port that was free is %q", got)
		}
	}
	w.set(Network{Name: "none", CIDR: office})
	if err := w.Set(t.Context(), Network{Name: "new", Key: "new", MTU: 1500, Forward: []Forward{{Listen: taken, To: to}}}); CodeOf(err) != InUse {
		t.Errorf("a new network: %v", err)
	}
	st, err := w.Status(t.Context())
	if err != nil || len(st.Networks) != 2 {
		t.Errorf("%d networks, %v", len(st.Networks), err)
	}
}
