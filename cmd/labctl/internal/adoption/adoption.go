// Package adoption makes of what is on a host, and of what a user wants of it, the networks and machines that a lab
// adopts: their names in the lab, and which of their interfaces it can speak of.
//
// It must not know a hypervisor, CUE, or how something is marked.
package adoption

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Wish is an object on the host that somebody wants to have adopted.
type Wish struct {
	Host string // its name there
	Name string // its name in the lab; "" is one made of Host
}

// Wishes reads flags: a name on the host, or NAME=LABNAME. A name that somebody has given an "=" is there, and is taken
// as a whole.
func Wishes(flags []string, there func(host string) bool) []Wish {
	var out []Wish
	for _, f := range flags {
		if i := strings.LastIndex(f, "="); i > 0 && !there(f) {
			out = append(out, Wish{Host: f[:i], Name: f[i+1:]})
			continue
		}
		out = append(out, Wish{Host: f})
	}
	return out
}

// Adoption is what a lab takes in.
type Adoption struct {
	Networks []lab.Network
	Machines []lab.Machine
	Notes    map[string][]string // by the name on the host: what of it stays outside the lab
}

// Choose finds what is wanted among what is there.
func Choose(l lab.Lab, there []provider.Candidate, networks, machines []Wish) (Adoption, error) {
	a := Adoption{Notes: map[string][]string{}}
	wires := map[string]string{} // the lab's names of networks by the host's
	for _, n := range l.Networks {
		if n.Adopted != "" {
			wires[n.Adopted] = n.Name
		}
	}
	for _, w := range networks {
		c, err := find(l, there, w, true)
		if err != nil {
			return a, err
		}
		n := *c.Network
		taken := func(name string) bool {
			_, ok := l.Network(name)
			return ok || slices.ContainsFunc(a.Networks, func(x lab.Network) bool { return x.Name == name })
		}
		if n.Name, err = name(w, "network", taken); err != nil {
			return a, err
		}
		wires[n.Adopted] = n.Name
		a.Networks, a.Notes[n.Adopted] = append(a.Networks, n), c.Notes
	}
	for _, w := range machines {
		c, err := find(l, there, w, false)
		if err != nil {
			return a, err
		}
		m := *c.Machine
		taken := func(name string) bool {
			_, ok := l.Machine(name)
			return ok || slices.ContainsFunc(a.Machines, func(x lab.Machine) bool { return x.Name == name })
		}
		if m.Name, err = name(w, "domain", taken); err != nil {
			return a, err
		}
		var left []string
		m.NICs, left = interfaces(c, wires)
		a.Machines, a.Notes[m.Adopted] = append(a.Machines, m), slices.Concat(c.Notes, left)
	}
	return a, nil
}

// find is the candidate that is wanted, if it can be had.
func find(l lab.Lab, there []provider.Candidate, w Wish, network bool) (provider.Candidate, error) {
	kind := "domain"
	if network {
		kind = "network"
	}
	var names []string
	for _, c := range there {
		if (c.Network != nil) != network {
			continue
		}
		if c.Host() == w.Host && c.Refused != "" {
			return c, fmt.Errorf("%s %s cannot be adopted: %s", kind, w.Host, c.Refused)
		}
		if c.Host() == w.Host {
			return c, nil
		}
		if c.Refused == "" {
			names = append(names, c.Host())
		}
	}
	for _, n := range l.Networks {
		if network && n.Adopted == w.Host {
			return provider.Candidate{}, fmt.Errorf("network %s is adopted already: networks.%s", w.Host, n.Name)
		}
	}
	for i := range l.Machines {
		if m := &l.Machines[i]; !network && m.Adopted == w.Host {
			return provider.Candidate{}, fmt.Errorf("domain %s is adopted already: servers.%s", w.Host, m.Name)
		}
	}
	if len(names) == 0 {
		return provider.Candidate{}, fmt.Errorf("there is no %s called %q that is nobody's, nor any other to adopt", kind, w.Host)
	}
	return provider.Candidate{}, fmt.Errorf("there is no %s called %q that is nobody's; to adopt there is %s", kind, w.Host, strings.Join(names, ", "))
}

// name is what the lab calls what is wanted.
func name(w Wish, kind string, taken func(string) bool) (string, error) {
	n := w.Name
	if n == "" {
		n = Label(w.Host)
	}
	switch {
	case n == "" || n != Label(n):
		return "", fmt.Errorf("%q cannot be the lab's name for %s %s: it takes 1 to 63 of a-z, 0-9 and \"-\"; say which with --%s '%s=NAME'", n, kind, w.Host, kind, w.Host)
	case taken(n):
		return "", fmt.Errorf("the lab has another %s called %s; give %s another name with --%s '%s=NAME'", kind, n, w.Host, kind, w.Host)
	}
	return n, nil
}

// Label is the DNS label that is most like a name on a host; "" if nothing of it can stand in one.
func Label(host string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(host) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if !strings.HasSuffix(b.String(), "-") {
			b.WriteByte('-')
		}
	}
	s := strings.Trim(b.String(), "-")
	return strings.Trim(s[:min(len(s), 63)], "-")
}

// interfaces are those that the lab can speak of, one on each of its networks, and what is to be said of the others.
func interfaces(c provider.Candidate, wires map[string]string) (nics []lab.NIC, left []string) {
	for i, n := range c.Machine.NICs {
		if n.Network == "" {
			n.Network = wires[c.On[i]]
		}
		switch {
		case n.Network == "":
			left = append(left, fmt.Sprintf("Its interface %s is on network %s, which is not in the lab, and stays outside of it: --network '%s' adopts that one, too.", n.MAC, c.On[i], c.On[i]))
		case slices.ContainsFunc(nics, func(x lab.NIC) bool { return x.Network == n.Network }):
			left = append(left, fmt.Sprintf("Its interface %s is a second one on network %s, of which a lab knows one: it stays outside of the lab.", n.MAC, c.On[i]))
		default:
			nics = append(nics, n)
		}
	}
	return nics, left
}
