package reach

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// need skips where there is no root; in CI that fails.
func need(t *testing.T) {
	t.Helper()
	why := ""
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			why = program + " is not installed"
		}
	}
	if os.Geteuid() != 0 {
		why = "it makes network namespaces, which needs root"
	}
	switch {
	case why == "":
	case os.Getenv("CI") == "true":
		t.Fatal(why)
	default:
		t.Skip(why)
	}
}

// kernel is a lab built of network namespaces.
type kernel struct {
	p      *Proof
	prefix string
	spaces []string
	stop   []func()
	heard  sync.Map // nonce -> name of the machine that got it
	// patience is how long something that should answer may take, the second time.
	patience time.Duration
}

const spacePrefix = "lt"

// sweep removes namespaces of runs that were killed.
func sweep() {
	all, _ := filepath.Glob("/run/netns/" + spacePrefix + "*-*-*")
	for _, f := range all {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), spacePrefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		// One that nobody has reaped yet has no command line; another process that has its number has another.
		if b, _ := os.ReadFile("/proc/" + pid + "/cmdline"); !bytes.Contains(b, []byte(".test")) {
			_ = exec.Command("ip", "netns", "del", filepath.Base(f)).Run()
		}
	}
}

func ipBatch(space, script string) error {
	args := []string{"-batch", "-"}
	if space != "" {
		args = append([]string{"-n", space}, args...)
	}
	cmd := exec.Command("ip", args...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip -n %s: %w: %s\n%s", space, err, out, script)
	}
	return nil
}

// foreign is a host that the lab does not know: the world, or an intruder on a wire.
type foreign struct {
	name, network string
	router        string // it hands everything to
}

// build makes the namespaces. sets are what the routers run, which a test of the test makes different from the proof's.
func build(t testing.TB, id string, p *Proof, sets map[string]nft.Ruleset, foreigners []foreign) (*kernel, error) {
	k := &kernel{p: p, prefix: fmt.Sprintf("%s%d-%s-", spacePrefix, os.Getpid(), id)}
	t.Cleanup(k.close)
	for _, m := range p.lab.Machines {
		k.spaces = append(k.spaces, m.Name)
	}
	for _, f := range foreigners {
		k.spaces = append(k.spaces, f.name)
	}
	k.spaces = append(k.spaces, "wires")
	var b strings.Builder
	for _, s := range k.spaces {
		fmt.Fprintf(&b, "netns add %s%s\n", k.prefix, s)
	}
	if err := ipBatch("", b.String()); err != nil {
		return k, err
	}
	for _, s := range k.spaces {
		// The world passes on what it knows a way for: back to an uplink's networks, if that is routed.
		if err := k.inside(s, func() error { return sysctls(s == "world" || p.nodes[s] != nil && p.nodes[s].forwards) }); err != nil {
			return k, err
		}
	}
	if err := k.wire(foreigners); err != nil {
		return k, err
	}
	for _, m := range p.lab.Machines {
		if err := k.machine(m.Name, sets); err != nil {
			return k, err
		}
	}
	for _, f := range foreigners {
		if err := k.foreign(f); err != nil {
			return k, err
		}
	}
	return k, nil
}

func sysctls(router bool) error {
	set := map[string]string{"net.ipv6.conf.default.accept_dad": "0", "net.ipv6.conf.all.accept_dad": "0", "net.ipv6.conf.default.accept_ra": "0",
		"net.ipv4.ping_group_range": "0 2147483647", "net.ipv6.conf.default.router_solicitations": "0", "net.ipv4.conf.default.rp_filter": "0",
		"net.ipv4.conf.all.rp_filter": "0"}
	if router {
		for _, line := range strings.Split(strings.TrimSpace(string(nft.Sysctls())), "\n") {
			k, v, _ := strings.Cut(line, " = ")
			set[k] = v
		}
	}
	for name, value := range set {
		if err := os.WriteFile("/proc/sys/"+strings.ReplaceAll(name, ".", "/"), []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// wire makes a bridge for each network and plugs everybody in.
func (k *kernel) wire(foreigners []foreign) error {
	var b strings.Builder
	port := 0
	plug := func(space, network, mac string, bridge int) {
		address := ""
		if mac != "" {
			address = "address " + mac
		}
		fmt.Fprintf(&b, "link add p%d type veth peer name %s %s netns %s%s\n", port, nft.Interface(network), address, k.prefix, space)
		fmt.Fprintf(&b, "link set p%d master b%d up\n", port, bridge)
		port++
	}
	for i, n := range k.p.lab.Networks {
		fmt.Fprintf(&b, "link add b%d type bridge mcast_snooping 0\nlink set b%d up\n", i, i)
		for _, m := range k.p.lab.Machines {
			if nic, ok := m.NIC(n.Name); ok {
				plug(m.Name, n.Name, nic.MAC, i)
			}
		}
		for _, f := range foreigners {
			if f.network == n.Name || f.network == "" && n.Uplink {
				plug(f.name, n.Name, "", i)
			}
		}
	}
	return ipBatch(k.prefix+"wires", b.String())
}

func (k *kernel) machine(name string, sets map[string]nft.Ruleset) error {
	n := k.p.nodes[name]
	var b strings.Builder
	b.WriteString("link set lo up\n")
	for _, i := range n.ifaces {
		dev := nft.Interface(i.network)
		fmt.Fprintf(&b, "link set %s up\n", dev)
		for f, v6 := range []bool{false, true} {
			if prefix, ok := k.p.prefix(k.p.wires[i.network].network, v6); ok && i.addr[f].IsValid() {
				fmt.Fprintf(&b, "addr add %s/%d dev %s\n", i.addr[f], prefix.Bits(), dev)
			}
		}
	}
	for _, r := range k.p.ways.Routes(name) {
		via := r.Via
		if !via.IsValid() {
			via = k.p.gateway(r.Network, r.To.Addr().Is6())
		}
		fmt.Fprintf(&b, "route add %s via %s dev %s\n", r.To, via, nft.Interface(r.Network))
	}
	if err := ipBatch(k.prefix+name, b.String()); err != nil {
		return err
	}
	if set, ok := sets[name]; ok {
		if err := k.load(name, set); err != nil {
			return err
		}
	}
	var addrs []netip.Addr
	for _, i := range n.ifaces {
		addrs = append(addrs, i.addr[0], i.addr[1], i.link)
	}
	return k.listen(name, n, addrs)
}

func (k *kernel) load(name string, set nft.Ruleset) error {
	cmd := exec.Command("ip", "netns", "exec", k.prefix+name, "nft", "-f", "-")
	cmd.Stdin = bytes.NewReader(set.Render())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s\n%s", err, out, set.Render())
	}
	return nil
}

// worlds are the addresses of the world in the test.
var worlds = []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2001:4860:4860::8888")}

func (k *kernel) foreign(f foreign) error {
	var b strings.Builder
	b.WriteString("link set lo up\n")
	var addrs []netip.Addr
	for _, n := range k.p.lab.Networks {
		if f.network != n.Name && !(f.network == "" && n.Uplink) {
			continue
		}
		dev := nft.Interface(n.Name)
		fmt.Fprintf(&b, "link set %s up\n", dev)
		for _, v6 := range []bool{false, true} {
			prefix, ok := k.p.prefix(n, v6)
			if !ok {
				continue
			}
			a := lab.Gateway(prefix)
			if f.network != "" {
				a = k.free(n.Name, prefix)
			}
			addrs = append(addrs, a)
			fmt.Fprintf(&b, "addr add %s/%d dev %s\n", a, prefix.Bits(), dev)
			b.WriteString(k.back(f, n, v6, dev))
		}
	}
	if f.network == "" {
		for _, a := range worlds {
			fmt.Fprintf(&b, "addr add %s dev lo\n", a)
		}
		addrs = append(addrs, worlds...)
	}
	if err := ipBatch(k.prefix+f.name, b.String()); err != nil {
		return err
	}
	return k.listen(f.name, nil, addrs)
}

// free is an address that nobody has.
func (k *kernel) free(network string, prefix netip.Prefix) netip.Addr {
	a := lab.Gateway(prefix)
	a = a.Next()
	for k.p.wires[network].owned.has(numOf(a)) {
		a = a.Next()
	}
	return a
}

// back are the routes of a foreigner to the lab's networks: of an intruder all over its router, of the world those that
// the uplink says it knows.
func (k *kernel) back(f foreign, n lab.Network, v6 bool, dev string) string {
	var b strings.Builder
	for _, d := range k.p.lab.Networks {
		prefix, ok := k.p.prefix(d, v6)
		if !ok || d.Name == n.Name {
			continue
		}
		router := f.router
		if f.network == "" {
			hops, ok := k.p.ways.Path(n.Name, d.Name, v6)
			if !n.Routed || !ok || len(hops) == 0 || d.Uplink {
				continue
			}
			router = hops[0].Router
		}
		if via := k.p.nodes[router].on(n.Name).addr[family(v6)]; via.IsValid() {
			fmt.Fprintf(&b, "route add %s via %s dev %s\n", prefix, via, dev)
		}
	}
	if router := k.p.nodes[f.router]; router != nil {
		if via := router.on(n.Name).addr[family(v6)]; via.IsValid() {
			fmt.Fprintf(&b, "route add default via %s dev %s\n", via, dev)
		}
	}
	return b.String()
}

func (k *kernel) close() {
	for _, stop := range k.stop {
		stop()
	}
	k.stop = nil
	var b strings.Builder
	for _, s := range k.spaces {
		fmt.Fprintf(&b, "netns del %s%s\n", k.prefix, s)
	}
	k.spaces = nil
	cmd := exec.Command("ip", "-force", "-batch", "-")
	cmd.Stdin = strings.NewReader(b.String())
	_ = cmd.Run()
}

// inside runs do on a thread in a namespace. Sockets made there stay there.
func (k *kernel) inside(space string, do func() error) error {
	done := make(chan error)
	go func() {
		done <- func() error {
			runtime.LockOSThread()
			home, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(home)
			there, err := unix.Open("/run/netns/"+k.prefix+space, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer unix.Close(there)
			if err := unix.Setns(there, unix.CLONE_NEWNET); err != nil {
				return err
			}
			err = do()
			if unix.Setns(home, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread() // else the thread ends with the goroutine
			}
			return err
		}()
	}()
	return <-done
}

var (
	tcpPorts = []uint16{22, 53, 80, 8005, 8080, 9}
	udpPorts = []uint16{22, 53, 80, 8080, 9}
)

// listen answers on every address with the machine's name.
func (k *kernel) listen(name string, n *node, addrs []netip.Addr) error {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) { // addresses may be tentative yet
		_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1) })
		return err
	}}
	return k.inside(name, func() error {
		for _, a := range addrs {
			if !a.IsValid() {
				continue
			}
			zone := ""
			if a.IsLinkLocalUnicast() && a.Is6() {
				for _, i := range n.ifaces {
					if i.link == a {
						zone = index(nft.Interface(i.network))
					}
				}
			}
			for _, port := range tcpPorts {
				l, err := lc.Listen(context.Background(), "tcp", netip.AddrPortFrom(a.WithZone(zone), port).String())
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				k.stop = append(k.stop, func() { l.Close() })
				go k.serveTCP(name, l)
			}
			for _, port := range udpPorts {
				c, err := lc.ListenPacket(context.Background(), "udp", netip.AddrPortFrom(a.WithZone(zone), port).String())
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				k.stop = append(k.stop, func() { c.Close() })
				go k.serveUDP(name, c.(*net.UDPConn))
			}
		}
		return nil
	})
}

// index is the number of an interface in this thread's namespace. Names would do as zones but for package net, which
// remembers their numbers for all namespaces alike.
func index(name string) string {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return ""
	}
	return strconv.Itoa(i.Index)
}

func (k *kernel) serveTCP(name string, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			b := make([]byte, 64)
			if n, err := c.Read(b); err == nil && n > 0 {
				_, _ = c.Write([]byte(name))
			}
		}()
	}
}

func (k *kernel) serveUDP(name string, c *net.UDPConn) {
	b := make([]byte, 64)
	for {
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		k.heard.Store(string(b[:n]), name)
		_, _ = c.WriteToUDPAddrPort([]byte(name), from)
	}
}

func command(args ...string) (string, error) {
	b, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	return string(b), err
}
