package room

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

func lockThread() { runtime.LockOSThread() }

// names is the configuration of a network's dnsmasq.
func (r *server) names(n Network) string {
	base := filepath.Join(r.dir, bridge(n.Name))
	lines := []string{
		"keep-in-foreground", "user=root", "group=root", // another would not end with the room
		"bind-interfaces", "except-interface=lo", "interface=" + bridge(n.Name), "no-hosts", "no-resolv", "no-ping",
		"pid-file=" + base + ".pid", "dhcp-leasefile=" + base + ".leases",
	}
	if n.Uplink {
		lines = append(lines, "domain="+n.Domain, "local=/"+n.Domain+"/", "server="+r.outside.dns.String())
		for _, x := range n.Records {
			lines = append(lines, fmt.Sprintf("host-record=%s.%s,%s,%s", x.Name, n.Domain, x.Name, x.Addr))
		}
	} else {
		lines = append(lines, "port=0")
	}
	if n.gives() && n.CIDR.Addr().Is4() {
		lines = append(lines, n.dhcp()...)
	}
	return strings.Join(lines, "\n") + "\n"
}

func (n Network) dhcp() []string {
	mask := net.IP(net.CIDRMask(n.CIDR.Bits(), 32)).String()
	lines := []string{"dhcp-authoritative", fmt.Sprintf("dhcp-option=option:mtu,%d", n.MTU)}
	if n.DHCP != nil {
		lines = append(lines, fmt.Sprintf("dhcp-range=%s,%s,%s,1h", n.DHCP.From, n.DHCP.To, mask))
	} else {
		lines = append(lines, fmt.Sprintf("dhcp-range=%s,static,%s,1h", n.CIDR.Masked().Addr(), mask))
	}
	own := n.own(n.CIDR)
	var ways [][2]string
	router := ""
	if n.Uplink {
		router = own.String()
		lines = append(lines, "dhcp-option=option:dns-server,"+own.String())
	}
	for _, w := range n.Routes {
		if !w.Prefix.Addr().Is4() || !w.Via.IsValid() {
			continue
		}
		if w.Prefix.Bits() == 0 {
			router = w.Via.String()
			continue
		}
		ways = append(ways, [2]string{w.Prefix.String(), w.Via.String()})
	}
	if router == "" {
		lines = append(lines, "dhcp-option=option:router")
	} else {
		lines = append(lines, "dhcp-option=option:router,"+router)
		ways = append(ways, [2]string{"0.0.0.0/0", router})
	}
	for i, l := range n.Leases {
		tag := fmt.Sprintf("m%d", i)
		lines = append(lines, fmt.Sprintf("dhcp-host=%s,set:%s,%s,%s", l.MAC, tag, l.Addr, l.Name), option(tag, ways, l.Addr))
	}
	return append(lines, option("", ways, netip.Addr{}))
}

// option tells routes to those with a tag, "" for everybody else: not those that lead to themselves. Who reads it does not
// read the router (RFC 3442).
func option(tag string, ways [][2]string, own netip.Addr) string {
	words := []string{"option:classless-static-route"}
	if tag != "" {
		words = []string{"tag:" + tag, words[0]}
	}
	for _, w := range ways {
		if w[1] != own.String() {
			words = append(words, w[0], w[1])
		}
	}
	return "dhcp-option=" + strings.Join(words, ",")
}

func (r *server) startNames(n Network, text string) (*child, error) {
	base := filepath.Join(r.dir, bridge(n.Name))
	if err := os.WriteFile(base+".conf", []byte(text), 0o644); err != nil {
		return nil, err
	}
	_ = os.Remove(base + ".pid")
	c, err := r.start(bridge(n.Name), exec.Command("dnsmasq", "--conf-file="+base+".conf"))
	if err != nil {
		return nil, err
	}
	c.config = text
	return c, c.ready("dnsmasq for network "+n.Name, func() bool {
		_, err := os.Stat(base + ".pid")
		return err == nil
	})
}
