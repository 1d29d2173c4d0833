package memory

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// What others have made on the host is a world of its own, $LABCTL_HOME/host/TARGET/world.json, which tests write: objects
// by address, the address' name that on the host. Once adopted an object has the lab that it belongs to, and as an
// output what the lab calls it.

// foreignAttrs are an object's on the host: a network's or a machine's.
type foreignAttrs struct {
	CIDR    string       `json:"cidr,omitempty"`
	Uplink  bool         `json:"uplink,omitempty"`
	CPUs    int          `json:"cpus,omitempty"`
	Memory  lab.Bytes    `json:"memory,omitempty"` // bytes
	NICs    []foreignNIC `json:"nics,omitempty"`
	Power   string       `json:"power,omitempty"`
	Protect bool         `json:"protect,omitempty"`
}

type foreignNIC struct {
	// Network is the name of one of the host's, or LAB/NAME of one that a lab has made and plugged the machine into.
	Network string     `json:"network"`
	MAC     string     `json:"mac"`
	Link    string     `json:"link"`
	IP      netip.Addr `json:"ip,omitzero"`
}

const nameInLab = "name"

func (p *memory) host() *world {
	return p.at(filepath.Join(p.options.Home, "host", p.options.Target))
}

// Adoptable implements provider.Adopter.
func (p *memory) Adoptable(ctx context.Context, l lab.Lab) ([]provider.Candidate, error) {
	after, err := p.faults.at(ctx, "adoptable")
	if err != nil {
		return nil, err
	}
	defer after()
	there, err := p.host().read()
	if err != nil {
		return nil, provider.Wrap("look for what can be adopted", provider.Addr{}, err)
	}
	var out []provider.Candidate
	for _, o := range there {
		if o.Lab != "" {
			continue
		}
		var a foreignAttrs
		if err := o.Attrs.Decode(&a); err != nil {
			return nil, provider.Wrap("look for what can be adopted", o.Addr, err)
		}
		if o.Addr.Kind == network {
			out = append(out, networkCandidate(o.Addr.Name, a))
		} else {
			out = append(out, machineCandidate(l.Name, o.Addr.Name, a, there))
		}
	}
	slices.SortFunc(out, func(a, b provider.Candidate) int {
		return cmp.Or(strings.Compare(fmt.Sprint(a.Network == nil), fmt.Sprint(b.Network == nil)), strings.Compare(a.Host(), b.Host()))
	})
	return out, nil
}

func networkCandidate(name string, a foreignAttrs) provider.Candidate {
	n := lab.Network{Name: name, Adopted: name, Uplink: a.Uplink, MTU: 1500}
	if a.CIDR != "" {
		n.CIDR, _ = netip.ParsePrefix(a.CIDR)
	}
	return provider.Candidate{Network: &n}
}

func machineCandidate(labName, name string, a foreignAttrs, there map[string]provider.Observed) provider.Candidate {
	m := lab.Machine{Name: name, Adopted: name, CPUs: a.CPUs, Memory: a.Memory, Power: lab.Power(a.Power), Protect: a.Protect}
	c := provider.Candidate{Machine: &m}
	for _, n := range a.NICs {
		nic := lab.NIC{MAC: n.MAC, Link: lab.Link(n.Link), Addr: n.IP, Given: n.IP.IsValid()}
		if o := there[addr(network, n.Network).String()]; o.Lab == labName {
			nic.Network = o.Outputs[nameInLab]
		}
		m.NICs, c.On = append(m.NICs, nic), append(c.On, n.Network)
	}
	if m.Power != lab.On && m.Power != lab.Off {
		c.Refused = "it is " + a.Power + ": a lab's machines are on or off"
	}
	return c
}

// adoptedNetwork and adoptedMachine are what is managed of them, in normal form.
func adoptedNetwork(n lab.Network) networkAttrs {
	a := networkAttrs{Adopted: n.Adopted}
	if n.CIDR.IsValid() {
		a.CIDR = n.CIDR.String()
	}
	return a
}

func adoptedMachine(m lab.Machine) (machineAttrs, []provider.Addr) {
	a := machineAttrs{Adopted: m.Adopted, CPUs: m.CPUs, Memory: m.Memory, Power: string(m.Power), Protect: m.Protect}
	var needs []provider.Addr
	for _, n := range m.NICs {
		a.NICs, needs = append(a.NICs, nicAttr{n.Network, n.MAC, string(n.Link)}), append(needs, addr(network, n.Network))
	}
	slices.SortFunc(a.NICs, func(a, b nicAttr) int { return strings.Compare(a.MAC, b.MAC) })
	return a, needs
}

// adopted adds to objects what a lab has adopted.
func (p *memory) adopted(l lab.Lab, objects map[string]provider.Observed) error {
	there, err := p.host().read()
	if err != nil {
		return err
	}
	for _, o := range there {
		if o.Lab != l.Name {
			continue
		}
		var f foreignAttrs
		if err := o.Attrs.Decode(&f); err != nil {
			return err
		}
		name := o.Outputs[nameInLab]
		seen := provider.Observed{Addr: addr(o.Addr.Kind, name), Lab: l.Name, Adopted: true}
		if o.Addr.Kind == network {
			n, _ := l.Network(name) // what it has no word for is as its lab says, and what its lab does not say is not compared
			n.Adopted = o.Addr.Name
			if cidr, err := netip.ParsePrefix(f.CIDR); err == nil && n.CIDR.IsValid() {
				n.CIDR = cidr
			}
			seen.Attrs, err = provider.Encode(adoptedNetwork(n))
		} else {
			seen.Machine = name
			var a machineAttrs
			a, seen.Needs = adoptedMachine(known(l, name, o.Addr.Name, f, there))
			seen.Attrs, err = provider.Encode(a)
		}
		if err != nil {
			return err
		}
		objects[seen.Addr.String()] = seen
	}
	return nil
}

// known is an adopted machine as its lab knows it: the interfaces that the lab speaks of, and those that it plugged in.
func known(l lab.Lab, name, host string, f foreignAttrs, there map[string]provider.Observed) lab.Machine {
	m := lab.Machine{Adopted: host, CPUs: f.CPUs, Memory: f.Memory, Power: lab.Power(f.Power), Protect: f.Protect}
	spec, _ := l.Machine(name)
	for _, n := range f.NICs {
		net, ours := strings.CutPrefix(n.Network, l.Name+"/")
		if o := there[addr(network, n.Network).String()]; !ours && o.Lab == l.Name {
			net = o.Outputs[nameInLab]
		}
		if ours || slices.ContainsFunc(spec.NICs, func(x lab.NIC) bool { return x.MAC == n.MAC }) {
			m.NICs = append(m.NICs, lab.NIC{Network: net, MAC: n.MAC, Link: lab.Link(n.Link)})
		}
	}
	return m
}

// edit changes the object on the host that a lab knows as a.
func (p *memory) edit(ctx context.Context, op string, a provider.Addr, host string, progress provider.Progress,
	edit func(*provider.Observed, map[string]provider.Observed) error,
) error {
	key := addr(a.Kind, host)
	return p.changeIn(ctx, p.host(), op, a, key, progress, func(there map[string]provider.Observed) error {
		o, ok := there[key.String()]
		if !ok {
			return &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("the host has no %s called %s", a.Kind, host)}
		}
		if err := edit(&o, there); err != nil {
			return err
		}
		there[key.String()] = o
		return nil
	})
}

func (p *memory) adopt(ctx context.Context, r provider.Resource, progress provider.Progress) error {
	return p.edit(ctx, "adopt", r.Addr, hostName(r.Attrs), progress, func(o *provider.Observed, _ map[string]provider.Observed) error {
		if o.Lab != "" && (o.Lab != r.Lab || o.Outputs[nameInLab] != r.Addr.Name) {
			return &provider.Error{Code: provider.Foreign, Text: fmt.Sprintf("%s is %s %s of lab %s", o.Addr.Name, o.Addr.Kind, o.Outputs[nameInLab], o.Lab)}
		}
		o.Lab, o.Outputs = r.Lab, map[string]string{nameInLab: r.Addr.Name}
		return nil
	})
}

func hostName(a provider.Attrs) string {
	name, _ := a["adopted"].(string)
	return name
}

func (p *memory) release(ctx context.Context, o provider.Observed, progress provider.Progress) error {
	err := p.edit(ctx, "release", o.Addr, hostName(o.Attrs), progress, func(f *provider.Observed, _ map[string]provider.Observed) error {
		if f.Lab != o.Lab {
			return nil
		}
		var a foreignAttrs
		if err := f.Attrs.Decode(&a); err != nil {
			return err
		}
		a.NICs = slices.DeleteFunc(a.NICs, func(n foreignNIC) bool { return strings.HasPrefix(n.Network, o.Lab+"/") })
		f.Lab, f.Outputs = "", nil
		var err error
		f.Attrs, err = provider.Encode(a)
		return err
	})
	if provider.CodeOf(err) == provider.NotFound {
		return nil
	}
	return err
}

// updateAdopted changes what is managed of an adopted machine, and nothing else of it; of a network that is nothing.
func (p *memory) updateAdopted(ctx context.Context, r provider.Resource, progress provider.Progress) error {
	var want machineAttrs
	if err := r.Attrs.Decode(&want); err != nil {
		return provider.Wrap("update", r.Addr, err)
	}
	return p.edit(ctx, "update", r.Addr, want.Adopted, progress, func(o *provider.Observed, there map[string]provider.Observed) error {
		if r.Addr.Kind == network {
			return &provider.Error{Code: provider.Unsupported, Text: "it is adopted, and adopted networks stay as they are: the lab has to say what it is like"}
		}
		var f foreignAttrs
		if err := o.Attrs.Decode(&f); err != nil {
			return err
		}
		f.CPUs, f.Memory, f.Power, f.Protect = want.CPUs, want.Memory, want.Power, want.Protect
		f.NICs = slices.DeleteFunc(f.NICs, func(n foreignNIC) bool {
			return strings.HasPrefix(n.Network, r.Lab+"/") && !slices.ContainsFunc(want.NICs, func(w nicAttr) bool { return w.MAC == n.MAC })
		})
		for _, n := range want.NICs {
			wire := r.Lab + "/" + n.Network
			for _, x := range there {
				if x.Lab == r.Lab && x.Addr.Kind == network && x.Outputs[nameInLab] == n.Network {
					wire = x.Addr.Name
				}
			}
			if i := slices.IndexFunc(f.NICs, func(x foreignNIC) bool { return x.MAC == n.MAC }); i >= 0 {
				f.NICs[i].Network, f.NICs[i].Link = wire, n.Link
			} else {
				f.NICs = append(f.NICs, foreignNIC{Network: wire, MAC: n.MAC, Link: n.Link})
			}
		}
		var err error
		o.Attrs, err = provider.Encode(f)
		return err
	})
}
