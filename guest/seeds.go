// Package guest is everything inside a machine, whatever runs it: the document that says what should hold there, the
// seed that brings it in at first boot, and the conversation with the program that makes it true.
//
// It must not know a hypervisor, a provider, the engine, or how a machine is reached: a Shell is given to it.
package guest

import (
	"fmt"

	"github.com/labctl-dev/labctl/guest/cloudinit"
	"github.com/labctl-dev/labctl/lab"
)

// Keys are who may log in, and what machines prove themselves with. The zero Keys are for planning.
type Keys struct {
	Authorized []string           // whole lines of authorized_keys
	Host       map[string]HostKey // by machine
}

// HostKey is an ed25519 ssh host key.
type HostKey struct {
	Private string // OpenSSH PEM
	Public  string // one line: "ssh-ed25519 AAAA... comment"
}

// Seeds makes the seed of every machine of l that is labctl's inside (lab.Machine.Ours). It is pure: equal arguments give equal bytes.
//
// secrets are the values of l.Secrets. With nil secrets, files keep the name of their secret in place of its value:
// such seeds are for planning, and have the same Digest. With any other map a value that is missing, or a host key
// that is missing while other machines have theirs, is an error.
func Seeds(l lab.Lab, k Keys, secrets map[string]string) (map[string]lab.Seed, error) {
	made, err := newMaker(l)
	if err != nil {
		return nil, err
	}
	out := make(map[string]lab.Seed, len(l.Machines))
	for _, m := range l.Machines {
		if !m.Ours() {
			continue
		}
		s, err := made.seed(m, k, secrets)
		if err != nil {
			return nil, err
		}
		out[m.Name] = s
	}
	return out, nil
}

func (made *maker) seed(m lab.Machine, k Keys, secrets map[string]string) (lab.Seed, error) {
	d, err := made.document(m)
	if err != nil {
		return lab.Seed{}, err
	}
	d.User.Authorized = append(d.User.Authorized, k.Authorized...)
	if secrets != nil {
		if err := d.resolve(m.Path(), secrets); err != nil {
			return lab.Seed{}, err
		}
	}
	key, ok := k.Host[m.Name]
	if !ok && len(k.Host) > 0 {
		return lab.Seed{}, fmt.Errorf("%s: no ssh host key was made for it", m.Path())
	}
	text, err := d.encode()
	if err != nil {
		return lab.Seed{}, err
	}
	packed, err := cloudinit.Pack(text)
	if err != nil {
		return lab.Seed{}, fmt.Errorf("cannot compress the guest document of %s: %w", m.Name, err)
	}
	s := lab.Seed{Machine: m.Name, Guest: text, Digest: d.Digest}
	in := cloudinit.Input{
		Instance: "labctl-" + made.lab.Name + "-" + m.Name,
		Hostname: d.Hostname, FQDN: d.FQDN,
		User: Account, Authorized: d.User.Authorized,
		HostPrivate: key.Private, HostPublic: key.Public,
		Files: []cloudinit.File{
			{Path: DocumentPath, Mode: "0600", Content: packed},
			{Path: ProgramPath, Mode: "0755", Content: made.program},
		},
		Run: []string{ProgramPath, "--run", bootRun},
	}
	for _, i := range d.Network {
		in.Interfaces = append(in.Interfaces, cloudinit.Interface{
			Name: i.Name, Device: i.Device, MAC: i.MAC, Addresses: i.Addresses, Routes: i.Routes, DNS: i.DNS, MTU: i.MTU,
			DHCP: i.DHCP, UseRoutes: i.UseRoutes, UseDNS: i.UseDNS, RA: i.RA != nil && i.RA.Address, Default: i.Default,
		})
	}
	if s.UserData, err = cloudinit.UserData(in); err != nil {
		return lab.Seed{}, fmt.Errorf("cannot encode the user-data of %s: %w", m.Name, err)
	}
	if s.MetaData, err = cloudinit.MetaData(in); err != nil {
		return lab.Seed{}, fmt.Errorf("cannot encode the meta-data of %s: %w", m.Name, err)
	}
	if s.NetworkConfig, err = cloudinit.NetworkConfig(in.Interfaces); err != nil {
		return lab.Seed{}, fmt.Errorf("cannot encode the network-config of %s: %w", m.Name, err)
	}
	return s, nil
}
