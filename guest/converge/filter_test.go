package converge_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	ipForward = "proc/sys/net/ipv4/ip_forward"
	filterA   = "proc/sys/net/ipv4/conf/all/rp_filter"
	filterB   = "proc/sys/net/ipv4/conf/ens3/rp_filter"
	unitFile  = "etc/systemd/system/labctl-firewall.service"
	rulesFile = "etc/labctl/firewall.nft"
)

func ruleset(rules ...string) string {
	text := "table inet labctl {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n"
	for _, r := range rules {
		text += "\t\t" + r + "\n"
	}
	return text + "\t}\n}\n"
}

// router is a machine that had nothing of a router before.
func router(t *testing.T) *machine {
	m := newMachine(t)
	m.write(ipForward, "0\n")
	m.write(filterA, "0\n")
	m.write(filterB, "2\n")
	m.document(object{})
	m.run()
	m.calls()
	return m
}

func routing(rules ...string) object {
	return object{
		"sysctls":  []object{{"key": "net.ipv4.conf.all.rp_filter", "value": "1"}, {"key": "net.ipv4.conf.*.rp_filter", "value": "0"}},
		"firewall": object{"ruleset": ruleset(rules...), "forwarding": []object{{"key": "net.ipv4.ip_forward", "value": "1"}}},
	}
}

func TestRouterComesAndGoes(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.document(routing("accept"))
	m.want(nil, 0, "sysctls: /etc/sysctl.d/90-labctl.conf", "sysctls: net.ipv4.conf.all.rp_filter is 0", "sysctls: net.ipv4.conf.ens3.rp_filter is 2",
		"firewall: the ruleset is not loaded", "firewall: /etc/systemd/system/labctl-firewall.service", "firewall: /etc/labctl/forwarding.conf", "firewall: net.ipv4.ip_forward is 0")
	if diff := cmp.Diff("systemctl daemon-reload\nsystemctl enable labctl-firewall.service\nsystemctl restart labctl-firewall.service\nloaded while forwarding is 0", m.calls()); diff != "" {
		t.Error(diff)
	}
	if got := m.read(ipForward) + m.read(filterA) + m.read(filterB); got != "1\n1\n0\n" {
		t.Errorf("settings: %q", got)
	}
	unit := m.read(unitFile)
	load, forward := strings.Index(unit, "ExecStart=/usr/sbin/nft -f /etc/labctl/firewall.nft\n"), strings.Index(unit, "systemd-sysctl /etc/labctl/forwarding.conf\n")
	if load < 0 || forward < load || strings.Contains(unit, "ExecStop") || !strings.Contains(unit, "\nBefore=network-pre.target") {
		t.Errorf("unit:\n%s", unit)
	}
	if got := m.read("etc/sysctl.d/90-labctl.conf"); strings.Contains(got, "forward") || !strings.Contains(got, "net.ipv4.conf.*.rp_filter = 0\n") {
		t.Errorf("settings for the boot:\n%s", got)
	}
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)

	host := routing("accept")
	host["sysctls"], host["firewall"] = nil, object{"ruleset": ruleset("accept"), "forwarding": []object{}}
	m.document(host) // a host with a firewall
	m.run()
	if got := m.read(ipForward) + m.read(filterA) + m.read(filterB); got != "0\n0\n2\n" || m.exists("etc/labctl/forwarding.conf") || strings.Contains(m.read(unitFile), "sysctl ") {
		t.Errorf("a router is left: %q", got)
	}
	m.want([]string{"--check"}, 0)

	m.document(routing("accept"))
	m.run()
	m.calls()
	m.document(object{})
	m.want([]string{"--check"}, 2, "sysctls: no longer in the lab: /etc/sysctl.d/90-labctl.conf", "sysctls: no longer set: net.ipv4.conf.all.rp_filter",
		"sysctls: no longer set: net.ipv4.conf.ens3.rp_filter", "firewall: no longer in the lab")
	m.run()
	if got := m.calls(); !strings.Contains(got, "nft delete table inet labctl while forwarding is 0") {
		t.Errorf("calls: %s", got)
	}
	for _, f := range []string{unitFile, rulesFile, "etc/labctl/forwarding.conf", "etc/sysctl.d/90-labctl.conf", "units/labctl-firewall.service.enabled"} {
		if m.exists(f) {
			t.Errorf("%s is left", f)
		}
	}
	m.want(nil, 0)
}

func TestForwardingEndsWithoutMemory(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.document(routing("accept"))
	m.run()
	m.write("var/lib/labctl/memory.json", "") // lost with the power
	m.document(object{})
	m.run()
	if got := m.read(ipForward); got != "0\n" || m.exists(rulesFile) {
		t.Errorf("forwarding %q without rules", got)
	}
}

func TestRulesByHand(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.document(routing("tcp dport 22 accept", "udp dport 53 accept"))
	m.run()
	m.calls()
	m.write("live.nft", ruleset("tcp dport 22 accept", "tcp dport 3306 accept"))
	m.want([]string{"--check"}, 2, "firewall: missing in chain input: udp dport 53 accept", "firewall: not the lab's in chain input: tcp dport 3306 accept")
	if m.calls() != "" || !strings.Contains(m.read("live.nft"), "3306") {
		t.Error("--check changed something")
	}
	m.run()
	if m.read("live.nft") != ruleset("tcp dport 22 accept", "udp dport 53 accept") {
		t.Error("not mended")
	}
	var many []string
	for i := range 300 {
		many = append(many, fmt.Sprintf("tcp dport %d accept comment %q", i, strings.Repeat("x", 300)))
	}
	m.write("live.nft", ruleset(many...))
	_, r := m.run("--check")
	if got := items(r); len(got) != 13 || got[12] != "firewall: and 290 more lines of the ruleset" || len(got[11]) > 300 {
		t.Errorf("%d: %s", len(got), got)
	}
	m.run()
	m.write(rulesFile, "flush ruleset\n") // for the next boot
	m.want(nil, 0, "firewall: /etc/labctl/firewall.nft")
	os.Remove(m.root + "/units/labctl-firewall.service.enabled")
	m.want(nil, 0, "firewall: labctl-firewall.service is not enabled")
}

func TestRefusedRulesChangeNothing(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.document(routing("accept"))
	m.run()
	m.calls()
	m.document(routing("nonsense"))
	r := m.want(nil, 1, "FAILED firewall: nft refuses the ruleset: exit status 1")
	if out := r.Errors[0].Output; out != "Error: syntax error, unexpected nonsense" {
		t.Errorf("nft's words: %q", out)
	}
	if m.read(rulesFile) != ruleset("accept") || m.read("live.nft") != ruleset("accept") || m.calls() != "" {
		t.Error("a ruleset that nft refuses changed something")
	}
	m.document(routing("drop"))
	m.write("deaf", "")
	m.want(nil, 1, "FAILED firewall: the ruleset was loaded, but is not in force: missing in chain input: drop")
}

func TestRename(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.5", ""))
	m.write("route.json", strings.ReplaceAll(gatewayRoute, "ens3", "lan"))
	m.write("busy", "2") // networkd brought it up in the middle
	d := routing("accept")
	d["network"] = []object{nic(object{"device": "lan"})}
	m.document(d)
	_, r := m.run("--check")
	if got := strings.Join(items(r), "; "); !strings.Contains(got, "network lan: is not called lan at boot; network lan: is called ens3, not lan") {
		t.Error(got)
	}
	m.run()
	const busy = "ip link set dev ens3 down\nip link set dev ens3 name lan\n"
	if got := m.calls(); !strings.HasPrefix(got, busy+busy+busy+"ip link set dev lan up\nnetworkctl reload\nsystemctl daemon-reload") {
		t.Errorf("calls: %s", got)
	}
	if got := m.read("etc/systemd/network/05-labctl-lan.link"); got != "# written by labctl\n[Match]\nMACAddress=02:00:00:00:00:01\nType=ether\n[Link]\nName=lan\n" {
		t.Error(got)
	}
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)
	m.document(object{"network": []object{nic(nil)}})
	m.run()
	if m.exists("etc/systemd/network/05-labctl-lan.link") || !m.exists("etc/systemd/network/05-labctl-lan.network") {
		t.Error("the next boot's name")
	}
}

// TestLease waits for what a router gives once the filter is there that lets it in, and says what did not come.
func TestLease(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.write("etc/resolv.conf", "nameserver 10.0.0.1\n")
	m.write("addr.json", `[{"ifname":"lan","address":"02:00:00:00:00:01","mtu":1500,"flags":["UP"]}]`)
	d := routing("accept")
	d["network"] = []object{lease(object{"device": "lan"})}
	m.document(d)
	m.want([]string{"--run", "boot"}, 1, "network lan: has no address by DHCP", "sysctls: /etc/sysctl.d/90-labctl.conf", "sysctls: net.ipv4.conf.all.rp_filter is 0", "sysctls: net.ipv4.conf.ens3.rp_filter is 2",
		"firewall: the ruleset is not loaded", "firewall: /etc/systemd/system/labctl-firewall.service", "firewall: /etc/labctl/forwarding.conf", "firewall: net.ipv4.ip_forward is 0",
		"FAILED lease lan: has no address by DHCP after 1 seconds")
	m.want([]string{"--check"}, 2, "network lan: has no address by DHCP")
	m.write("addr.next", strings.ReplaceAll(fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), "ens3", "lan"))
	m.write("route.json", strings.ReplaceAll(gatewayRoute, "ens3", "lan"))
	m.want(nil, 0, "network lan: has no address by DHCP")
	m.want([]string{"--check"}, 0)
}

// TestMisnamed has an interface that keeps its name: rules by another would shut the machine off.
func TestMisnamed(t *testing.T) {
	t.Parallel()
	m := router(t)
	m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.5", ""))
	m.write("busy", "99")
	d := routing("accept")
	d["network"] = []object{nic(object{"device": "lan"})}
	m.document(d)
	_, r := m.run()
	if got := strings.Join(items(r), "; "); !strings.Contains(got, "FAILED network lan: interface ens3 cannot be called lan") ||
		!strings.Contains(got, "FAILED firewall: not loaded, because the interface on lan is called ens3, not lan") || m.exists("live.nft") || m.read(ipForward) != "0\n" {
		t.Error(got)
	}
}
