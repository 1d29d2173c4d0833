package schema

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// facts are the lab as its roles see it: the values of #LabFacts.
type facts struct {
	lab      cue.Value
	machines map[string]cue.Value
	inside   []string // the machines whose inside is labctl's, sorted
}

// told is what facts there are beside the lab itself: more in every step of working out its roles.
type told struct {
	configs map[string]map[string]json.RawMessage // what machines say about roles, by machine and role
	clients map[string]map[string]access          // by machine and port
}

type labFacts struct {
	Name     string                  `json:"name"`
	Domain   string                  `json:"domain"`
	Networks map[string]networkFacts `json:"networks"`
	Machines map[string]machineFacts `json:"machines"`
	Roles    map[string][]string     `json:"roles,omitempty"`
	Installs []installFacts          `json:"installs"`
}

type installFacts struct {
	lab.Install
	Arch      lab.Arch       `json:"arch"`
	Image     string         `json:"image"`
	Disk      string         `json:"disk"`
	Boot      string         `json:"boot"`
	UEFI      bool           `json:"uefi"`
	Installer *lab.Installer `json:"installer,omitempty"`
}

type networkFacts struct {
	CIDR   string `json:"cidr"`
	CIDR6  string `json:"cidr6"`
	Uplink bool   `json:"uplink"`
}

type machineFacts struct {
	Name      string                     `json:"name"`
	FQDN      string                     `json:"fqdn"`
	Router    bool                       `json:"router"`
	User      string                     `json:"user"`
	External  bool                       `json:"external"`
	Groups    []string                   `json:"groups"`
	Addresses map[string][]string        `json:"addresses"`
	MACs      map[string]string          `json:"macs"`
	DUIDs     map[string]string          `json:"duids"`
	Devices   map[string]string          `json:"devices"`
	Roles     map[string]json.RawMessage `json:"roles,omitempty"`
	Clients   map[string][]string        `json:"clients,omitempty"`
	Listen    map[string][]string        `json:"listen,omitempty"`
}

// newFacts are the facts of a complete lab as far as they are known.
func newFacts(ctx *cue.Context, l lab.Lab, t told) facts {
	all := labFacts{Name: l.Name, Domain: l.Domain, Networks: map[string]networkFacts{}, Machines: map[string]machineFacts{}, Roles: map[string][]string{}, Installs: installs(l)}
	for _, n := range l.Networks {
		f := networkFacts{Uplink: n.Uplink}
		if n.CIDR.IsValid() {
			f.CIDR = n.CIDR.String()
		}
		if n.CIDR6.IsValid() {
			f.CIDR6 = n.CIDR6.String()
		}
		all.Networks[n.Name] = f
	}
	for _, m := range l.Machines {
		f := machineFacts{Name: m.Name, FQDN: l.FQDN(m.Name), Router: m.Router, User: m.Guest.User, External: !m.Ours(), Groups: append([]string{}, m.Groups...),
			Addresses: map[string][]string{}, MACs: map[string]string{}, DUIDs: map[string]string{}, Devices: map[string]string{}, Roles: t.configs[m.Name]}
		for _, nic := range m.NICs {
			f.MACs[nic.Network] = nic.MAC
			if nic.DUID != "" {
				f.DUIDs[nic.Network] = nic.DUID
			}
			if m.Router || m.Firewall {
				f.Devices[nic.Network] = nft.Interface(nic.Network)
			}
		}
		for network, text := range m.Addresses() {
			f.Addresses[network] = strings.Fields(text)
		}
		for port, a := range t.clients[m.Name] {
			if f.Clients == nil {
				f.Clients, f.Listen = map[string][]string{}, map[string][]string{}
			}
			f.Clients[port], f.Listen[port] = a.from, a.at
		}
		all.Machines[m.Name] = f
		for _, role := range slices.Sorted(maps.Keys(t.configs[m.Name])) {
			all.Roles[role] = append(all.Roles[role], m.Name)
		}
	}
	out := facts{lab: ctx.Encode(all), machines: map[string]cue.Value{}}
	for _, m := range l.Machines {
		if m.Ours() {
			out.inside = append(out.inside, m.Name)
		}
		out.machines[m.Name] = out.lab.LookupPath(cue.MakePath(cue.Str("machines"), cue.Str(m.Name)))
	}
	return out
}

// installs are the machines of l that others of it install.
func installs(l lab.Lab) []installFacts {
	out := []installFacts{}
	for _, i := range l.Installs() {
		if i.Server == "" {
			continue
		}
		m, _ := l.Machine(i.Machine)
		one := installFacts{Install: i, Arch: m.Arch, Image: m.Image, Boot: m.Installer.Folder(m.Arch), UEFI: m.Firmware == lab.UEFI, Installer: m.Installer}
		if len(m.Disks) > 1 {
			one.Disk = m.Disks[0].Name
		}
		out = append(out, one)
	}
	return out
}

// fill tells a role of a machine: the one that has it (as "machine"), or one that has not ("other").
func (f facts) fill(w wants, as, machine string) cue.Value {
	return w.rule.FillPath(cue.ParsePath(as), f.machines[machine])
}

// made is a role with all that its machine says and is. It is told at once: telling makes all of a role anew.
func (f facts) made(w wants) cue.Value {
	all := w.rule.Context().CompileString("{}").FillPath(cue.ParsePath("machine"), f.machines[w.machine]).FillPath(cue.ParsePath("config"), w.config)
	return w.rule.Unify(all)
}
