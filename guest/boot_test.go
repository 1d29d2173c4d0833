package guest_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// bootLab has a router, so that one boot shows what is special to routers and what is not. labctl comes in from where
// QEMU's user network forwards from.
func bootLab() lab.Lab {
	return lab.Arrange(lab.Lab{
		Name: "demo", Domain: "demo.lab",
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500}, {Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 1500},
			{Name: "enclosed-by-the-router", CIDR: netip.MustParsePrefix("10.30.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:30::/64"), MTU: 1400},
			{Name: "leased", CIDR: netip.MustParsePrefix("10.40.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:40::/64"), MTU: 1500, Assign: lab.DHCP},
			{Name: "formed", CIDR: netip.MustParsePrefix("fd00:50::/64"), MTU: 1500, Assign: lab.SLAAC},
		},
		Implied: &lab.Implied{Admin: []netip.Prefix{netip.MustParsePrefix("10.0.2.2/32")}},
		Policy:  []lab.Rule{{Name: "sql", From: []string{"office"}, To: []string{"enclosed-by-the-router"}, Allow: []lab.Service{{Proto: lab.TCP, From: 3306, To: 3306}}, Path: "policy.sql"}},
		Machines: []lab.Machine{
			{Name: "gw", Router: true, NICs: []lab.NIC{{Network: "leased"}, {Network: "formed"}}, Routing: &lab.Routing{DNS: []string{"leased"}, DHCP: []string{"leased", "formed"}}},
			{Name: "web", Router: true, Routing: &lab.Routing{DNS: []string{"office"}, DHCP: []string{"enclosed-by-the-router"}}, Ready: lab.Duration(10 * time.Minute),
				NICs: []lab.NIC{{Network: "lan", Link: lab.Up}, {Network: "office", Addr: netip.MustParseAddr("10.20.0.10"), Link: lab.Up}, {Network: "enclosed-by-the-router", Link: lab.Up}},
				Guest: lab.Guest{
					User:     "lab",
					Files:    []lab.File{{Path: "/etc/motd", Text: "hello\n", Mode: "0644", Owner: "root", Group: "root"}, {Path: "/etc/token", Secret: "token", Mode: "0600", Owner: "root", Group: "root"}},
					Commands: []lab.Command{{Name: "mark", Run: "date > /var/tmp/mark"}},
				}},
			{Name: "db", NICs: []lab.NIC{{Network: "office"}}, Guest: lab.Guest{User: "lab"}},
		},
	})
}

func seeds(t *testing.T, l lab.Lab, id access.Identity) map[string]lab.Seed {
	t.Helper()
	k := guest.Keys{Authorized: []string{id.Authorized("labctl")}, Host: map[string]guest.HostKey{}}
	for _, m := range l.Machines {
		private, public := id.HostKey(m.Name)
		k.Host[m.Name] = guest.HostKey{Private: private, Public: public}
	}
	s, err := guest.Seeds(l, k, map[string]string{"token": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// bench is a machine under test, the lab it belongs to, and a clock.
type bench struct {
	*vm
	ctx   context.Context
	lab   lab.Lab
	s     *access.Session
	sh    shell
	began time.Time
	phase string
}

// since logs what happened when; -v shows it.
func (b *bench) since(what string) { b.t.Logf("%6.1fs %s", time.Since(b.began).Seconds(), what) }

func (b *bench) progress(phase string, done, total int64) {
	if phase != b.phase {
		b.phase = phase
		b.since(fmt.Sprintf("%s %d/%d", phase, done, total))
	}
}

func (b *bench) ask(line string) string {
	b.t.Helper()
	out, errs, exit, err := b.s.Output(b.ctx, line, nil)
	if err != nil || exit != 0 {
		b.t.Errorf("%s: exit %d, %v: %s%s", line, exit, err, out, errs)
	}
	return strings.TrimSpace(string(out))
}

func (b *bench) asks(want map[string]string) {
	b.t.Helper()
	for line, w := range want {
		if got := b.ask(line); got != w {
			b.t.Errorf("%s: %q, want %q", line, got, w)
		}
	}
}

// change changes the machine in the lab and returns its new seed.
func (b *bench) change(f func(*lab.Machine)) lab.Seed {
	b.t.Helper()
	b.lab.Machines = slices.Clone(b.lab.Machines)
	for i := range b.lab.Machines {
		if m := &b.lab.Machines[i]; m.Name == b.machine.Name {
			m.NICs = slices.Clone(m.NICs)
			f(m)
			b.machine = *m
		}
	}
	return seeds(b.t, b.lab, b.id)[b.machine.Name]
}

func (b *bench) converge(seed lab.Seed) error {
	return guest.Converge(b.ctx, b.sh, seed, b.machine, nil, b.progress)
}

func (b *bench) check(seed lab.Seed, want ...guest.Difference) {
	b.t.Helper()
	got, err := guest.Check(b.ctx, b.sh, seed, b.machine)
	if err != nil || !slices.Equal(got, want) {
		b.t.Errorf("check: %v %v, want %v", got, err, want)
	}
	b.since("checked")
}

// TestBoot is the whole of this room in a real machine.
func TestBoot(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	id, err := access.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := bootLab()
	seed := seeds(t, l, id)["web"]
	b := &bench{ctx: ctx, lab: l, began: time.Now(), vm: boot(t, l, id, seed)}
	b.s = b.open(ctx)
	b.sh = shell{b}
	b.since("ssh, verified on the first connection")
	if err := b.converge(seed); err != nil {
		t.Fatal(err)
	}
	b.since("first boot converged")
	if os.Getenv("LABCTL_TEST_EXPLAIN") != "" {
		t.Log(b.ask("sudo cat /run/labctl/report.json /run/cloud-init/result.json; networkctl --no-pager status -a; ls -la /etc/systemd/network; systemd-analyze --no-pager; systemd-analyze --no-pager blame | head -20; systemctl --no-pager --failed"))
	}
	firstBoot(b)
	routes(b)
	byHand(b, seed)
	newDocument(b)
	services(b)
	failures(b)
	leased(b)
	firewalledHost(b)
}

func firstBoot(b *bench) {
	db, _ := b.lab.Machine("db")
	b.asks(map[string]string{
		"hostname -f":                        "web.demo.lab",
		"cat /etc/motd; sudo cat /etc/token": "hello\ns3cret",
		"sudo stat -c '%a %U' /etc/labctl/guest.json /etc/token": "600 root\n600 root",
		"getent hosts db.demo.lab | tr -s ' '":                   db.NICs[0].Addr.String() + " db.demo.lab db",
		"ls /etc/ssh | grep host":                                "ssh_host_ed25519_key\nssh_host_ed25519_key.pub",
		// cloud-init's own files also go by the interface's name, which moves when a NIC comes before it at the next boot
		"ls /etc/systemd/network | grep -c 05-labctl.*network || true": "3",
		"ip -o -4 addr show scope global | wc -l":                      "3",
		"ip -o -6 addr show scope link | wc -l":                        "3",
		"sudo passwd -S lab | cut -d' ' -f2":                           "L",
	})
	b.since("looked around")
}

func byHand(b *bench, seed lab.Seed) {
	b.check(seed)
	b.ask("echo by hand | sudo tee -a /etc/motd; sudo sed -i '/labctl begin/,/labctl end/d' /etc/hosts; sudo ip addr del 10.20.0.10/24 dev office")
	b.ask("sudo sh -c 'nft insert rule inet labctl forward " + byHandRule + "; echo 1 > /proc/sys/net/ipv4/conf/lan/rp_filter'")
	b.check(seed, guest.Difference{Item: "hosts", What: "the lab's block of /etc/hosts"},
		guest.Difference{Item: "network office", What: "address 10.20.0.10/24 is missing"},
		guest.Difference{Item: "sysctls", What: "net.ipv4.conf.lan.rp_filter is 1"}, guest.Difference{Item: "firewall", What: "not the lab's in chain forward: " + strings.ReplaceAll(byHandRule, `\"`, `"`)},
		guest.Difference{Item: "file /etc/motd", What: "content"})
}

// newDocument has another file, another address and another rule; the machine goes on, and the connection that is open.
func newDocument(b *bench) {
	before, mark := b.ask(bootID+"; "+connection), b.ask("cat /var/tmp/mark")
	b.lab.Policy = append(b.lab.Policy, lab.Rule{Name: "mail", From: []string{"office"}, To: []string{"enclosed-by-the-router"}, Allow: []lab.Service{{Proto: lab.TCP, From: 25, To: 25}}, Path: "policy.mail"})
	seed := b.change(func(m *lab.Machine) {
		m.NICs[1].Addr = netip.MustParseAddr("10.20.0.77")
		m.Guest.Files = []lab.File{{Path: "/etc/issue.net", Text: "new\n", Mode: "0644", Owner: "root", Group: "root"}, m.Guest.Files[1]}
		m.Guest.Units = []lab.Unit{{Name: "unit-that-is-not"}, {Name: "ssh", Enabled: true, Running: true}}
	})
	if err := b.converge(seed); err != nil {
		b.t.Fatal(err)
	}
	b.since("converged to a new document")
	b.asks(map[string]string{
		bootID + "; " + connection:                      before,
		"cat /var/tmp/mark":                             mark,
		"ls /etc/motd 2>/dev/null || true":              "",
		"cat /etc/issue.net":                            "new",
		"ip -o -4 addr show | awk '/10.20/ {print $4}'": "10.20.0.77/24",
		"sudo nft list table inet labctl | grep -c 'by hand\\|dport 25 .*mail'": "2", // that in chain input, that in chain forward
	})
	rebooted(b)
	b.check(seed)
	if err := b.converge(seed); err != nil {
		b.t.Error(err)
	}
	b.since("converged again, nothing to do")
}

const daemon = "[Unit]\nDescription=a daemon\n[Service]\nExecStart=/bin/sh -c 'cat /etc/daemon.conf; exec sleep infinity'\n[Install]\nWantedBy=multi-user.target\n"

// services has a unit of the lab's own, restarted when its file changes, stopped by hand, and gone with the document.
func services(b *bench) {
	file := func(path, text string) lab.File {
		return lab.File{Path: path, Text: text, Mode: "0644", Owner: "root", Group: "root", Restart: []string{"daemon"}}
	}
	with := func(conf string) lab.Seed {
		return b.change(func(m *lab.Machine) {
			m.Guest.Files = []lab.File{file("/etc/systemd/system/daemon.service", daemon), file("/etc/daemon.conf", conf)}
			m.Guest.Units = []lab.Unit{{Name: "daemon", Enabled: true, Running: true}}
			if p := os.Getenv("LABCTL_TEST_PACKAGES"); p != "" { // from a mirror: not for every run
				m.Guest.Packages = strings.Split(p, ",")
			}
		})
	}
	const pid = "systemctl show -p MainPID --value daemon"
	if err := b.converge(with("one\n")); err != nil {
		b.t.Error(err)
	}
	first := b.ask(pid)
	seed := with("two\n")
	if err := b.converge(seed); err != nil {
		b.t.Error(err)
	}
	if second := b.ask(pid); second == first || second == "0" {
		b.t.Errorf("the daemon was not restarted: %s, %s", first, second)
	}
	b.ask("sudo sh -c 'systemctl disable --now daemon; nft delete table inet labctl'")
	b.check(seed, guest.Difference{Item: "firewall", What: "the ruleset is not loaded"}, guest.Difference{Item: "unit daemon", What: "is not enabled"}, guest.Difference{Item: "unit daemon", What: "does not run"})
	if err := b.converge(seed); err != nil {
		b.t.Error(err)
	}
	b.check(seed)
	b.since("services work")
}

// failures are told with their reasons, and what is gone from the document is gone.
func failures(b *bench) {
	seed := b.change(func(m *lab.Machine) {
		m.Guest.Files = []lab.File{{Path: "/etc/systemd/system/broken.service", Text: "[Service]\nExecStart=/bin/sh -c 'echo port is taken; exit 9'\n", Mode: "0644", Owner: "root", Group: "root"}}
		m.Guest.Units = []lab.Unit{{Name: "broken", Running: true}}
		m.Guest.Commands = append(m.Guest.Commands, lab.Command{Name: "bad", Run: "echo the reason; exit 7"})
	})
	err := b.converge(seed)
	for _, want := range []string{"web: command bad: command failed: exit status 7\n    the reason", "web: unit broken", "    port is taken"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			b.t.Errorf("%q is not in: %v", want, err)
		}
	}
	b.asks(map[string]string{"ls /etc/daemon.conf /etc/systemd/system/daemon.service 2>/dev/null || true": "", "systemctl is-active daemon || true": "inactive"})
	b.since("failed as it should")
}
