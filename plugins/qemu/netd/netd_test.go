package netd

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/wire"
)

// greet is a server that says hello, reads to the end, and says bye: so it needs connections that half close.
func greet(l net.Listener, hello string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = io.WriteString(c, hello+"\n")
			n, _ := io.Copy(io.Discard, c)
			_, _ = io.WriteString(c, "bye after "+time.Duration(n).String())
		}()
	}
}

// converse is greet's client: it returns all that came.
func converse(t *testing.T, c net.Conn, say string) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(c, say); err != nil {
		t.Fatal(err)
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	return string(b)
}

var office = netip.MustParsePrefix("10.20.0.0/24")

func sample() Network {
	a := netip.MustParseAddr
	return Network{
		Name: "office", Key: "0123456789", CIDR: office, Uplink: true, MTU: 9000, DHCP: &lab.Range{From: a("10.20.0.100"), To: a("10.20.0.110")},
		Leases: []Lease{{MAC: "02:00:00:00:00:01", Addr: a("10.20.0.10"), Name: "web"}}, Records: []Record{{Name: "web", Addr: a("10.20.0.10")}},
		Domain: "quickstart.lab", Routes: []Route{{Prefix: netip.MustParsePrefix("10.30.0.0/16"), Via: a("10.20.0.10")}}, HostAccess: true, Join: []string{"/run/vmnet"},
		CIDR6: netip.MustParsePrefix("fd00:20::/64"), Forward: []Forward{{Listen: netip.MustParseAddrPort("127.0.0.1:39080"), To: netip.MustParseAddrPort("10.20.0.10:80"), Machine: "web"}},
	}
}

func TestNetworkComesBackAsSet(t *testing.T) {
	w := newWorld(t)
	want := sample()
	bare := Network{Name: "lan", Key: "k", MTU: 576}
	for _, n := range []Network{want, bare} {
		if err := w.Set(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	got := []Network{w.network("lan").Network, w.network("office").Network}
	if diff := cmp.Diff([]Network{bare, want}, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(bare)
	if err != nil || string(b) != `{"name":"lan","key":"k","mtu":576}` {
		t.Errorf("%s, %v", b, err)
	}
}

func TestBadNetworkChangesNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.Set(t.Context(), sample()); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		edit func(*Network)
		want string
	}{
		{"no name", func(n *Network) { n.Name = "" }, "no name"},
		{"key", func(n *Network) { n.Key = "../x" }, `key "../x"`},
		{"key taken", func(n *Network) { n.Name = "lan" }, "does not go with"},
		{"key changed", func(n *Network) { n.Key = "other" }, "does not go with"},
		{"small MTU", func(n *Network) { n.MTU = 100 }, "MTU 100"},
		{"large MTU", func(n *Network) { n.MTU = 65521 }, "MTU 65521"},
		{"tiny", func(n *Network) { n.CIDR = netip.MustParsePrefix("10.20.0.0/31") }, "no room"},
		{"range", func(n *Network) { n.DHCP = &lab.Range{From: n.DHCP.To, To: n.DHCP.From} }, "DHCP range 10.20.0.110 to 10.20.0.100"},
		{"lease outside", func(n *Network) { n.Leases[0].Addr = netip.MustParseAddr("10.21.0.1") }, "10.21.0.1 is not"},
		{"lease of the gateway", func(n *Network) { n.Leases[0].Addr = lab.Gateway(office) }, "is taken"},
		{"MAC", func(n *Network) { n.Leases[0].MAC = "02:00:00:00:00:0A" }, "no MAC"},
		{"record", func(n *Network) { n.Records[0].Addr = netip.Addr{} }, `record "web"`},
		{"route", func(n *Network) { n.Routes[0].Via = netip.MustParseAddr("10.9.0.1") }, "via 10.9.0.1"},
		{"second prefix", func(n *Network) { n.CIDR6 = netip.MustParsePrefix("10.30.0.0/24") }, "10.30.0.0/24 is not the IPv6 prefix"},
		{"second prefix alone", func(n *Network) { n.CIDR, n.Leases, n.Routes, n.DHCP = netip.Prefix{}, nil, nil, nil }, "beside an IPv4 one"},
		{"forward from nowhere", func(n *Network) { n.Forward[0].Listen = netip.AddrPort{} }, "no address and port of the host"},
		{"forward to nowhere", func(n *Network) { n.Forward[0].To = netip.MustParseAddrPort("10.20.0.10:0") }, "no address and port of a machine"},
		{"forward twice", func(n *Network) { n.Forward = append(n.Forward, n.Forward[0]) }, "there are two"},
		{"join", func(n *Network) { n.Join = []string{"vmnet"} }, `"vmnet"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := sample()
			tt.edit(&n)
			err := w.Set(t.Context(), n)
			if CodeOf(err) != Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if diff := cmp.Diff(sample(), w.network("office").Network, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}, netip.AddrPort{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPorts follows sockets that come, go, come back and misbehave.
func TestPorts(t *testing.T) {
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office})
	a := w.guest("lan", "a", "10.20.0.10")
	b := w.guest("lan", "b", "10.20.0.11")
	b.listenTCP(netip.IPv4Unspecified(), 80, "b")
	greeted := func() bool {
		c, err := a.dialTCP(netip.MustParseAddrPort("10.20.0.11:80"))
		return err == nil && converse(t, c, "x") == "b\nbye after 1ns"
	}
	if !greeted() {
		t.Fatal("a does not reach b")
	}

	b.down() // QEMU ends and starts again: the socket is another one of the same name
	w.until("b is gone", func() bool { return !w.connected("lan", "b") })
	b.up()
	w.until("b is back", func() bool { return w.connected("lan", "b") })
	if !greeted() {
		t.Fatal("a does not reach b after its restart")
	}
	b.mu.Lock()
	b.conn.Close() // the connection alone
	b.mu.Unlock()
	w.until("b is dialled again", func() bool {
		for _, p := range w.network("lan").Ports {
			if p.Name == "b" && p.Connected && p.Redials >= 1 && p.Counters.OutFrames > 0 {
				return true
			}
		}
		return false
	})
	if !greeted() {
		t.Fatal("a does not reach b after its connection was lost")
	}

	bad, err := net.Listen("unix", filepath.Join(w.Folder("lan"), "bad"))
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := bad.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.0 400 Bad Request\r\n\r\n")
		}
	}()
	w.until("bad is found out and dialled again", func() bool {
		for _, p := range w.network("lan").Ports {
			if p.Name == "bad" && p.Redials >= 2 && strings.Contains(p.Error, "out of step") {
				return true
			}
		}
		return false
	})
	if !greeted() {
		t.Fatal("a does not reach b beside rubbish")
	}
	bad.Close()
	b.down()
	w.until("only a is left", func() bool { return len(w.network("lan").Ports) == 1 })
}

// TestJoin dials a socket elsewhere, as socket_vmnet's.
func TestJoin(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(w.Dir, "vmnet")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.set(Network{Name: "lan", Join: []string{path}})
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f := append([]byte{255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 0x88, 0xb5}, make([]byte, 50)...)
	if _, err := c.Write(wire.Append(nil, f)); err != nil {
		t.Fatal(err)
	}
	w.until("its frame is counted", func() bool { return w.network("lan").Ports[0].Counters.InFrames == 1 })
	w.set(Network{Name: "lan"})
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Fatal(err)
	}
	w.until("it is forgotten", func() bool { return len(w.network("lan").Ports) == 0 })
}

// TestClientsThatMisbehave hang, send rubbish or go away; others do not notice.
func TestClientsThatMisbehave(t *testing.T) {
	w := newWorld(t)
	w.set(Network{Name: "lan", CIDR: office})
	for _, say := range []string{"", "{\"version\":1,", "rubbish\n", `{"version":1,"op":"dial"}` + "\n", `{"version":7,"op":"status"}` + "\n"} {
		c, err := net.Dial("unix", w.Paths.Socket())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, say); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(say, "\n") {
			b, err := io.ReadAll(c)
			if err != nil || !strings.Contains(string(b), `"error"`) {
				t.Errorf("to %q: %q, %v", say, b, err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err := w.Dial(ctx, DialRequest{Network: "lan", Addr: netip.MustParseAddr("10.20.0.99"), Port: 22})
	if CodeOf(err) != Canceled {
		t.Errorf("canceled dial: %v", err)
	}
	w.network("lan")
}

func TestNotRunning(t *testing.T) {
	p := testPaths(t)
	if _, err := (Client{p.Socket()}).Status(t.Context()); CodeOf(err) != NotRunning {
		t.Error(err)
	}
	if err := Stop(t.Context(), p); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("stopping what does not run has made its folder: %v", err)
	}
}

// TestConnKeepsWhatFollows sends the machine's first bytes together with the process's answer.
func TestConnKeepsWhatFollows(t *testing.T) {
	a, b := pair(t)
	defer a.Close()
	c := newConn(b.(*net.UnixConn))
	if _, err := io.WriteString(a, "{\"version\":1}\nSSH-2.0-"); err != nil {
		t.Fatal(err)
	}
	var r response
	if err := c.readLine(&r); err != nil || r.Version != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	if _, err := io.WriteString(a, "x"); err != nil {
		t.Fatal(err)
	}
	a.Close()
	var got strings.Builder
	if _, err := io.Copy(&got, c); err != nil || got.String() != "SSH-2.0-x" {
		t.Errorf("%q, %v", got.String(), err)
	}
}
