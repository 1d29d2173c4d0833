package export

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Ansible is an inventory in YAML: the lab's machines in groups by what they are (routers, servers), their labels
// (group_NAME), roles (role_NAME) and networks (network_NAME). ways are the options with which ssh gets into a machine,
// by its name; a machine without any is met at its address, by the user that people log in as.
func Ansible(l lab.Lab, ways map[string][]string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# Lab %s, by labctl export ansible.\n", l.Name)
	b.WriteString("all:\n  vars:\n    ansible_python_interpreter: \"/usr/bin/python3\"\n    lab_name: " + quote(l.Name) + "\n    lab_domain: " + quote(l.Domain) + "\n  hosts:\n")
	for _, m := range l.Machines {
		b.WriteString(host(l, m, ways[m.Name]))
	}
	groups := groups(l)
	if len(groups) > 0 {
		b.WriteString("  children:\n")
	}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(&b, "    %s:\n      hosts:\n", name)
		for _, m := range groups[name] {
			fmt.Fprintf(&b, "        %s: {}\n", quote(m))
		}
	}
	return []byte(b.String())
}

// host is what Ansible is told of one machine.
func host(l lab.Lab, m lab.Machine, way []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    %s:\n", quote(m.Name))
	set := func(name, value string) { fmt.Fprintf(&b, "      %s: %s\n", name, quote(value)) }
	switch a, ok := address(l, m); {
	case len(way) > 0:
		set("ansible_host", m.Name+"."+l.Name)
		set("ansible_user", user(m))
		set("ansible_ssh_common_args", strings.Join(way, " "))
	case ok:
		set("ansible_host", a.String())
		if u := user(m); u != "" {
			set("ansible_user", u)
		}
	default:
		b.WriteString("      # its address is the target's to give; labctl status shows it\n")
	}
	if m.Ours() {
		b.WriteString("      ansible_become: true\n")
	}
	set("lab_fqdn", l.FQDN(m.Name))
	addresses := m.Addresses()
	if len(addresses) > 0 {
		b.WriteString("      lab_addresses:\n")
	}
	for _, n := range slices.Sorted(maps.Keys(addresses)) {
		fmt.Fprintf(&b, "        %s: [%s]\n", quote(n), list(strings.Fields(addresses[n])))
	}
	return b.String()
}

// user is who people log in as; "" where that is not known.
func user(m lab.Machine) string {
	if m.SSH != nil {
		return m.SSH.User
	}
	return m.Guest.User
}

func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = quote(w)
	}
	return strings.Join(quoted, ", ")
}

// groups are the members of each group, sorted.
func groups(l lab.Lab) map[string][]string {
	all := map[string][]string{}
	add := func(group, machine string) {
		group = strings.NewReplacer("-", "_", ".", "_").Replace(group) // Ansible's names are those of variables
		if !slices.Contains(all[group], machine) {
			all[group] = append(all[group], machine)
		}
	}
	for _, m := range l.Machines {
		if m.Router {
			add("routers", m.Name)
		} else {
			add("servers", m.Name)
		}
		for _, g := range m.Groups {
			add("group_"+g, m.Name)
		}
		for _, r := range m.Roles {
			add("role_"+r.Name, m.Name)
		}
		for _, n := range m.NICs {
			add("network_"+n.Network, m.Name)
		}
	}
	return all
}
