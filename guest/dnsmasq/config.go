// Package dnsmasq writes the configuration by which a router gives addresses and names on its networks: DHCP for IPv4
// and IPv6, router advertisements, DNS. Everything in it follows from the lab, so that what a machine is given is what
// labctl knew before there was a machine. Options are those of dnsmasq(8), 2.80 and later.
//
// It must not know how the files get into a machine, nor what the machine does with an answer.
package dnsmasq

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Where the pieces live inside a machine.
const (
	ConfigPath = "/etc/labctl/dnsmasq.conf"
	HostsPath  = "/etc/labctl/dnsmasq.hosts"
	Service    = "labctl-dnsmasq.service"
	UnitPath   = "/etc/systemd/system/" + Service
	Package    = "dnsmasq-base" // the program alone: Debian's dnsmasq package runs one of its own on every interface
)

// lease is how long an address is given for. Machines of the lab keep theirs anyway.
const lease = "12h"

// Input is what a configuration is made of.
type Input struct {
	Lab     lab.Lab
	Ways    *lab.Topology // of Lab
	Router  lab.Machine
	Records []Record // every machine's, in the order in which addresses are told
}

// Record is an address and its names, the first of which is the name of the address.
type Record struct {
	Addr  netip.Addr
	Names []string
}

// Files are the texts of ConfigPath and HostsPath.
type Files struct {
	Config string
	Hosts  string
}

// Serves says whether a machine has any use for dnsmasq.
func Serves(m lab.Machine) bool {
	return m.Routing != nil && len(m.Routing.DNS)+len(m.Routing.DHCP) > 0
}

// New is the configuration of a router that serves. It is an error if it cannot serve where it should.
func New(in Input) (Files, error) {
	w := &writer{Input: in, routing: *in.Router.Routing}
	w.line("# Addresses and names on the networks of %s, made by labctl from the lab.", in.Router.Name)
	if err := w.networks(); err != nil {
		return Files{}, err
	}
	w.names()
	if err := w.dhcp(); err != nil {
		return Files{}, err
	}
	return Files{Config: w.b.String(), Hosts: w.hosts()}, nil
}

type writer struct {
	Input
	routing lab.Routing
	b       bytes.Buffer
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(&w.b, format+"\n", args...) }

// networks says where it listens; nowhere else, whatever interfaces there are or will be.
func (w *writer) networks() error {
	w.line("user=dnsmasq\nbind-dynamic\nexcept-interface=lo")
	for _, list := range []struct {
		name     string
		networks []string
	}{{"dns", w.routing.DNS}, {"dhcp", w.routing.DHCP}} {
		for _, name := range list.networks {
			n, _ := w.Lab.Network(name)
			if _, on := w.Router.NIC(name); !on {
				return fmt.Errorf("routers.%s.%s: %s is not on network %s", w.Router.Name, list.name, w.Router.Name, name)
			}
			if n.Uplink && list.name == "dhcp" {
				return fmt.Errorf("routers.%s.dhcp: %s is an uplink, where somebody else gives addresses", w.Router.Name, name)
			}
		}
	}
	for _, nic := range w.Router.NICs {
		dns, dhcp := slices.Contains(w.routing.DNS, nic.Network), slices.Contains(w.routing.DHCP, nic.Network)
		if dns || dhcp {
			w.line("interface=%s", nft.Interface(nic.Network))
		}
		if !dhcp {
			w.line("no-dhcp-interface=%s", nft.Interface(nic.Network))
		}
	}
	return nil
}

// authorities are the machines whose roles know the names of the lab's domain, some of which may be nobody's address: they
// are asked for those that are not known here.
func (w *writer) authorities() []netip.Addr {
	var out []netip.Addr
	networks := ordered(w.Ways, w.Router)
	for i := range w.Lab.Machines {
		m := &w.Lab.Machines[i]
		if m.Name == w.Router.Name || !slices.ContainsFunc(m.Roles, func(r lab.Role) bool { return slices.Contains(r.Implied, "dns") }) {
			continue
		}
		if a, _, ok := nearest(w.Router, *m, networks); ok {
			out = append(out, a)
		}
	}
	return out
}

// names says what is answered here and whom everything else is asked. dnsmasq cannot give addresses on an interface and
// not listen for names there; where only addresses are served, the router's ruleset lets no question in.
func (w *writer) names() {
	if len(w.routing.DNS) == 0 {
		w.line("port=0")
		return
	}
	w.line("no-hosts\naddn-hosts=%s", HostsPath)
	w.line("localise-queries\ndomain-needed")
	if d := w.Lab.Domain; d != "" {
		for _, a := range w.authorities() {
			w.line("server=/%s/%s", d, a)
		}
		if len(w.authorities()) == 0 {
			w.line("local=/%s/", d)
		}
	}
	for _, n := range w.Lab.Networks {
		for _, v6 := range []bool{false, true} {
			if p, ok := n.Prefix(v6); ok && !n.Uplink {
				for _, zone := range lab.ReverseZones(p) {
					w.line("local=/%s/", zone)
				}
			}
		}
	}
	servers, _, own := Resolvers(w.Lab, w.Ways, w.Router)
	if own { // what the uplink said: resolved writes it to the first; where resolved is not, the second has it
		w.line("resolv-file=/run/systemd/resolve/resolv.conf\nresolv-file=/etc/resolv.conf")
		return
	}
	w.line("no-resolv")
	for _, s := range servers {
		w.line("server=%s", s)
	}
}

// hosts is the file of names. Of a machine's addresses the nearest stands first, and a question from a network where it
// has one is answered with that one (localise-queries).
func (w *writer) hosts() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# The names of the lab, made by labctl.\n")
	for _, r := range w.Records {
		fmt.Fprintf(&b, "%s %s\n", r.Addr, strings.Join(r.Names, " "))
	}
	return b.String()
}

// Unit is the text of UnitPath. It ends when the machine does, and what it gave to whom outlives it.
func Unit() string {
	return `# written by labctl
[Unit]
Description=labctl: addresses and names on this router's networks
After=network.target labctl-firewall.service

[Service]
ExecStart=/usr/sbin/dnsmasq --keep-in-foreground --conf-file=` + ConfigPath + `
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=2
StateDirectory=labctl-dnsmasq
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETUID CAP_SETGID CAP_CHOWN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_PACKET AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes

[Install]
WantedBy=multi-user.target
`
}
