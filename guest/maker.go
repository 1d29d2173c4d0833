package guest

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/guest/checks"
	"github.com/labctl-dev/labctl/guest/cloudinit"
	"github.com/labctl-dev/labctl/guest/converge"
	"github.com/labctl-dev/labctl/guest/dnsmasq"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// maker makes the documents of one lab's machines. What all of them need is worked out once: a lab of 500 machines
// must not take 500 times as long for each of them.
type maker struct {
	lab      lab.Lab
	ways     *lab.Topology
	networks map[string]lab.Network
	machines map[string]*lab.Machine
	names    [][]string // of each machine, the full name first
	rulesets map[string]nft.Ruleset
	program  string // the converging program, packed
}

func newMaker(l lab.Lab) (*maker, error) {
	k := &maker{lab: l, ways: lab.NewTopology(l), networks: map[string]lab.Network{}, machines: map[string]*lab.Machine{}}
	for _, n := range l.Networks {
		k.networks[n.Name] = n
	}
	filtered := false
	for i := range l.Machines {
		m := &l.Machines[i]
		k.machines[m.Name] = m
		names := []string{l.FQDN(m.Name), m.Name}
		if l.Domain == "" {
			names = names[1:]
		}
		k.names = append(k.names, names)
		filtered = filtered || m.Router || m.Firewall
	}
	var err error
	if k.program, err = cloudinit.Pack([]byte(converge.Program())); err != nil {
		return nil, fmt.Errorf("cannot compress the converging program: %w", err)
	}
	if filtered {
		k.rulesets, err = nft.All(l)
	}
	return k, err
}

// document is the document of m without keys and secrets' values; its Digest is filled in. way are the machines whose
// documents it is a part of.
func (k *maker) document(m lab.Machine, way ...string) (Document, error) {
	d := Document{
		Version: DocumentVersion, Lab: k.lab.Name, Machine: m.Name, Hostname: m.Name, FQDN: k.lab.FQDN(m.Name),
		User:    User{Name: m.Guest.User, Authorized: []string{}},
		Hosts:   k.hosts(m),
		Network: k.interfaces(m),
		// Never null in JSON, and never the lab's own slices.
		Sources:  m.Guest.Sources,
		Data:     m.Guest.Data,
		Packages: append([]string{}, m.Guest.Packages...),
		Files:    append([]lab.File{}, m.Guest.Files...),
		Units:    append([]lab.Unit{}, m.Guest.Units...),
		Commands: append([]lab.Command{}, m.Guest.Commands...),
	}
	if err := k.seeds(d.Files, way); err != nil {
		return d, err
	}
	for _, u := range m.Guest.Users {
		d.Users = append(d.Users, Login{Account: u})
	}
	if rules, ok := k.rulesets[m.Name]; ok {
		d.Firewall = firewall(rules, m)
		d.need("nftables")
	}
	d.Sysctls = sysctls(m)
	if dnsmasq.Serves(m) {
		if err := k.serve(&d, m); err != nil {
			return d, err
		}
	}
	var err error
	if d.Waits, err = waits(m.Guest.Waits); err != nil {
		return d, err
	}
	d.Digest, err = d.digest(k.lab.Certificates(m))
	return d, err
}

// serve lets a router give addresses and names. Its files and its unit are like those of the lab, and stand before them.
func (k *maker) serve(d *Document, m lab.Machine) error {
	in := dnsmasq.Input{Lab: k.lab, Ways: k.ways, Router: m}
	for _, h := range d.Hosts {
		if !h.Addr.IsLoopback() {
			in.Records = append(in.Records, dnsmasq.Record(h))
		}
	}
	made, err := dnsmasq.New(in)
	if err != nil {
		return err
	}
	file := func(path, text string) lab.File {
		return lab.File{Path: path, Text: text, Mode: "0644", Owner: "root", Group: "root", Restart: []string{dnsmasq.Service}}
	}
	d.need(dnsmasq.Package)
	d.Files = slices.Concat([]lab.File{file(dnsmasq.ConfigPath, made.Config), file(dnsmasq.HostsPath, made.Hosts), file(dnsmasq.UnitPath, dnsmasq.Unit())}, d.Files)
	d.Units = slices.Concat([]lab.Unit{{Name: dnsmasq.Service, Enabled: true, Running: true}}, d.Units)
	return nil
}

// need adds a package, before those of the lab, if it is not among them.
func (d *Document) need(name string) {
	if !slices.Contains(d.Packages, name) {
		d.Packages = append([]string{name}, d.Packages...)
	}
}

// waits are what comes after the rest.
func waits(all []lab.Wait) ([]Part, error) {
	var out []Part
	for _, w := range all {
		one := Part{Role: w.Role, Units: w.Units, Commands: w.Commands}
		for _, c := range w.For {
			q, err := checks.Ask(c)
			if err != nil {
				return nil, err
			}
			one.For = append(one.For, Awaited{c.Name, q})
		}
		out = append(out, one)
	}
	return out, nil
}
