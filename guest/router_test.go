package guest_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

const (
	links      = "ip -o link | awk -F': ' '$2 != \"lo\" {print $2}' | sort | tr '\\n' ' '"
	bootID     = "cat /proc/sys/kernel/random/boot_id"
	forwarding = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | tr '\\n' ' '"
	// lookup asks a name server for web.demo.lab.
	lookup = `python3 -c 'import socket
q = b"\0\1\1\0\0\1\0\0\0\0\0\0\3web\4demo\3lab\0\0\1\0\1"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.connect(("%s", 53)); s.send(q)
try: print(socket.inet_ntoa(s.recv(512)[-4:]))
except ConnectionRefusedError: print("refused")'`
	connection = "echo $SSH_CONNECTION"
	byHandRule = `meta nfproto ipv4 tcp dport 3306 counter accept comment \"by hand\"`
)

// routes looks at what a router is besides.
func routes(b *bench) {
	b.asks(map[string]string{
		links:      "lan net-f06ab88038 office",
		forwarding: "1 1",
		"cat /proc/sys/net/ipv4/conf/{all,lan,office}/rp_filter | tr '\\n' ' '":                                      "0 0 0",
		"ip -o -6 addr show dev net-f06ab88038 scope global | awk '{print $4}'":                                      "fd00:30::1/64",
		"cat /sys/class/net/net-f06ab88038/mtu":                                                                      "1400",
		"sudo nft list table inet labctl | grep -c 'dport 3306'":                                                     "2",
		"systemctl is-enabled labctl-firewall; systemctl is-active labctl-firewall":                                  "enabled\nactive",
		"ls /etc/sysctl.d/90-labctl.conf /etc/labctl/forwarding.conf && ! grep forward /etc/sysctl.d/90-labctl.conf": "/etc/labctl/forwarding.conf\n/etc/sysctl.d/90-labctl.conf",
	})
	for server, want := range map[string]string{"10.20.0.10": "10.20.0.10", "10.0.2.15": "refused"} { // the address on the side that asks
		b.asks(map[string]string{fmt.Sprintf(lookup, server): want})
	}
	b.asks(map[string]string{
		"systemctl is-active labctl-dnsmasq; ps -o user= -C dnsmasq": "active\ndnsmasq",
		// what the image's packages brought starts nothing by itself
		"systemctl is-enabled nftables || ls /lib/systemd/system /etc/init.d | grep dnsmasq || true": "disabled",
	})
	b.since("it is a router")
}

// rebooted is as before, from the files alone: names, rules, and forwarding after them.
func rebooted(b *bench) {
	before := b.ask(bootID)
	b.s.Output(b.ctx, "sudo systemctl reboot; sleep 60", nil)
	b.s.Close()
	b.s = b.open(b.ctx)
	if after := b.ask(bootID); after == before {
		b.t.Error("it has not booted again")
	}
	b.asks(map[string]string{
		links:      "lan net-f06ab88038 office",
		forwarding: "1 1",
		"journalctl -b -o cat -u labctl-firewall | grep -c Finished":                                                                    "1",
		"systemctl show -p ActiveEnterTimestampMonotonic --value labctl-firewall systemd-networkd | grep . | sort -nc && echo in order": "in order",
	})
	b.since("rebooted")
}

// leased is no router any more, of which nothing is left but the interfaces' names, and has two more interfaces, whose
// addresses a router gives that runs in a namespace of the same machine.
func leased(b *bench) {
	for i := range b.lab.Machines {
		if m := &b.lab.Machines[i]; m.Name == "web" {
			m.NICs = append(slices.Clone(m.NICs), lab.NIC{Network: "leased", Link: lab.Up}, lab.NIC{Network: "formed", Link: lab.Up})
		}
	}
	b.lab = lab.Arrange(b.lab)
	seed := b.change(func(m *lab.Machine) {
		m.Router, m.Routing, m.Guest.Commands, m.Guest.Files, m.Guest.Units = false, nil, nil, nil, nil
	})
	var gw guest.Document
	if err := json.Unmarshal(seeds(b.t, b.lab, b.id)["gw"].Guest, &gw); err != nil {
		b.t.Fatal(err)
	}
	own := strings.NewReplacer("/etc/labctl/", "/tmp/gw/", "/var/lib/labctl-dnsmasq", "/tmp/gw").Replace
	script := "set -e; ip netns add gw; mkdir -p /tmp/gw\n"
	for _, i := range gw.Network {
		nic, _ := b.machine.NIC(i.Name)
		script += fmt.Sprintf("ip link add %[1]s netns gw type veth peer name v-%[1]s address %[2]s; ip -n gw link set %[1]s up; ip link set v-%[1]s up\n", i.Name, nic.MAC)
		for _, a := range i.Addresses {
			script += fmt.Sprintf("ip -n gw addr add %s dev %s nodad\n", a, i.Name)
		}
	}
	for _, f := range gw.Files[:2] {
		script += fmt.Sprintf("cat > %s <<'EOF'\n%sEOF\n", own(f.Path), own(f.Text))
	}
	script += "ip netns exec gw dnsmasq --conf-file=" + own(gw.Files[0].Path) + "\n"
	if out, errs, exit, err := b.s.Output(b.ctx, "sudo sh", strings.NewReader(script)); err != nil || exit != 0 {
		b.t.Fatal(string(out), string(errs), err)
	}
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	l, _ := b.machine.NIC("leased")
	f, _ := b.machine.NIC("formed")
	b.asks(map[string]string{
		"ip -o addr show dev v-leased scope global | awk '{print $4}' | sort | tr '\\n' ' '": l.Addr.String() + "/24 " + l.Addr6.String() + "/128",
		"ip -o addr show dev v-formed scope global | awk '{print $4}'":                       f.Addr.String() + "/64",
		forwarding: "0 0",
		"cat /proc/sys/net/ipv4/conf/all/rp_filter": "2",
		"sudo nft list ruleset":                     "",
		"ls /etc/labctl /etc/systemd/network /etc/systemd/system | grep 'firewall\\|forward\\|dnsmasq\\|[.]link' || true": "",
		"ip -6 route show default | grep v- || true": "",
	})
	b.check(seed)
	b.ask("sudo sh -c 'kill $(pidof dnsmasq); ip netns del gw'")
	b.change(func(m *lab.Machine) { m.NICs = m.NICs[:3] })
	b.since("addresses by DHCP, DHCPv6 and SLAAC are those that labctl knew")
}

// firewalledHost gives a running host, whose interfaces have names of the kernel's, a firewall.
func firewalledHost(b *bench) {
	b.ask("sudo sh -c 'ip link set office down; ip link set office name eth7; ip link set eth7 up; networkctl reconfigure eth7'")
	before := b.ask(bootID + "; " + connection)
	b.lab.Implied = &lab.Implied{Admin: []netip.Prefix{netip.MustParsePrefix("10.0.2.2/32")}} // from where this test comes in
	seed := b.change(func(m *lab.Machine) { m.Firewall = true })
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.check(seed)
	b.asks(map[string]string{
		links:                                 "lan net-f06ab88038 office",
		bootID + "; " + connection:            before,
		forwarding:                            "0 0",
		"sudo nft list chains | grep -c hook": "1",
		"ip -o -4 addr show dev office | awk '{print $4}'": "10.20.0.77/24",
	})
	b.since("it is a firewalled host")
}
