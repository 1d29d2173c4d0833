package guest_test

import (
	"strings"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

const (
	links      = "ip -o link | awk -F': ' '$2 != \"lo\" {print $2}' | sort | tr '\\n' ' '"
	bootID     = "cat /proc/sys/kernel/random/boot_id"
	forwarding = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding | tr '\\n' ' '"
	connection = "echo $SSH_CONNECTION"
	rule       = `meta nfproto ipv4 tcp dport 3306 counter accept comment "by hand"`
)

// routes looks at what a router is besides.
func routes(b *bench) {
	b.asks(map[string]string{
		links:      "lan net-f06ab88038 office",
		forwarding: "1 1",
		"cat /proc/sys/net/ipv4/conf/{all,lan,office}/rp_filter | tr '\\n' ' '":                                      "0 0 0",
		"ip -o -6 addr show dev net-f06ab88038 scope global | awk '{print $4}'":                                      "fd00:30::1/64",
		"cat /sys/class/net/net-f06ab88038/mtu":                                                                      "1400",
		"sudo nft list table inet labctl | grep -c 'dport 3306'":                                                     "1",
		"systemctl is-enabled labctl-firewall; systemctl is-active labctl-firewall":                                  "enabled\nactive",
		"ls /etc/sysctl.d/90-labctl.conf /etc/labctl/forwarding.conf && ! grep forward /etc/sysctl.d/90-labctl.conf": "/etc/labctl/forwarding.conf\n/etc/sysctl.d/90-labctl.conf",
	})
	b.since("it is a router")
}

// rulesByHand changes the running ruleset; that is seen and mended, and nobody's connection breaks.
func rulesByHand(b *bench, seed lab.Seed) {
	if err := b.converge(seed); err != nil { // what byHand left
		b.t.Fatal(err)
	}
	before := b.ask(bootID + "; " + connection)
	b.ask("sudo nft insert rule inet labctl forward " + "'" + rule + "'")
	b.ask("sudo nft flush chain inet labctl leave 2>/dev/null; sudo sysctl -q -w net.ipv4.conf.lan.rp_filter=1 2>/dev/null || echo 1 | sudo tee /proc/sys/net/ipv4/conf/lan/rp_filter")
	b.check(seed, guest.Difference{Item: "sysctls", What: "net.ipv4.conf.lan.rp_filter is 1"},
		guest.Difference{Item: "firewall", What: "not the lab's in chain forward: " + rule})
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.check(seed)
	b.ask("sudo nft delete table inet labctl")
	b.check(seed, guest.Difference{Item: "firewall", What: "the ruleset is not loaded"})
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	if after := b.ask(bootID + "; " + connection); after != before {
		b.t.Errorf("a boot or a connection later: %s, before %s", after, before)
	}
	b.since("rules changed by hand are mended")
}

// newRule changes the policy.
func newRule(b *bench) {
	before := b.ask(bootID + "; " + connection)
	b.lab.Policy = append(b.lab.Policy, lab.Rule{Name: "mail", From: []string{"office"}, To: []string{"enclosed-by-the-router"}, Allow: []lab.Service{{Proto: lab.TCP, From: 25, To: 25}}, Path: "policy.mail"})
	seed := b.change(func(*lab.Machine) {})
	got, err := guest.Check(b.ctx, b.sh, seed, b.machine)
	if err != nil || len(got) != 2 || got[1].Item != "firewall" || !strings.HasPrefix(got[1].What, "missing in chain forward: ") || !strings.Contains(got[1].What, "dport 25 ") {
		b.t.Errorf("%v %v", got, err)
	}
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.check(seed)
	if after := b.ask(bootID + "; " + connection); after != before {
		b.t.Errorf("a boot or a connection later: %s, before %s", after, before)
	}
	b.since("a new rule is in force")
}

// noRouter makes a plain host of it: nothing of a router is left but the interfaces' names.
func noRouter(b *bench) {
	seed := b.change(func(m *lab.Machine) { m.Router, m.Guest.Commands, m.Guest.Files, m.Guest.Units = false, nil, nil, nil })
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.asks(map[string]string{
		forwarding: "0 0",
		"cat /proc/sys/net/ipv4/conf/all/rp_filter": "2",
		"sudo nft list ruleset":                     "",
		"ls /etc/labctl /etc/systemd/network | grep -c 'firewall\\|forward\\|link' || true": "0",
		"systemctl is-enabled labctl-firewall 2>/dev/null || true":                          "",
	})
	b.check(seed)
	b.since("it is no router any more")
}

// firewalledHost gives a running host, whose interfaces have names of the kernel's, a firewall.
func firewalledHost(b *bench) {
	b.ask("sudo sh -c 'ip link set office down; ip link set office name eth7; ip link set eth7 up; networkctl reconfigure eth7'")
	before := b.ask(bootID + "; " + connection)
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

// rebooted is the same as before, from the files alone.
func rebooted(b *bench) {
	before := b.ask(bootID)
	seed := b.change(func(m *lab.Machine) { m.Router, m.Firewall = true, false })
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.s.Output(b.ctx, "sudo systemctl reboot; sleep 60", nil)
	b.s.Close()
	b.s = b.open(b.ctx)
	b.sh = shell{b.s}
	if after := b.ask(bootID); after == before {
		b.t.Error("it has not booted again")
	}
	b.check(seed)
	b.asks(map[string]string{
		links:      "lan net-f06ab88038 office",
		forwarding: "1 1",
		"journalctl -b -o cat -u labctl-firewall | grep -c 'Finished'": "1",
	})
	b.since("rebooted, all is in force")
}
