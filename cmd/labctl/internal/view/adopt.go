package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// Adoptable writes what is on a host and nobody's.
func Adoptable(w io.Writer, all []provider.Candidate, o Options) error {
	pr := &printer{Options: o}
	if len(all) == 0 {
		pr.line(0, 2, text("There is nothing to adopt: all networks and machines on the host are some lab's."))
		return pr.flush(w)
	}
	networks := &table{header: []string{"network", "addresses", "uplink"}}
	machines := &table{header: []string{"domain", "power", "cpus", "memory", "on networks"}}
	for _, c := range all {
		if n := c.Network; n != nil {
			var cidrs []string
			if n.CIDR.IsValid() {
				cidrs = append(cidrs, n.CIDR.String())
			}
			if n.CIDR6.IsValid() {
				cidrs = append(cidrs, n.CIDR6.String())
			}
			networks.add(text(n.Adopted), text(strings.Join(cidrs, ", ")), text(map[bool]string{true: "yes"}[n.Uplink]))
			continue
		}
		m := c.Machine
		machines.add(text(m.Adopted), powerSpan(string(m.Power)), text(number(m.CPUs)), text(m.Memory.String()), text(strings.Join(c.On, ", ")))
	}
	for i, t := range []*table{networks, machines} {
		if i > 0 && len(networks.rows) > 0 && len(machines.rows) > 0 {
			pr.blank()
		}
		t.write(pr, 0)
	}
	pr.blank()
	for _, c := range all {
		if c.Refused != "" {
			pr.line(0, 4, span{c.Host(), bold}, span{" cannot be adopted: ", yellow}, text(c.Refused))
		}
		for _, n := range c.Notes {
			pr.line(0, 4, span{c.Host(), bold}, text(": "+n))
		}
	}
	pr.line(0, 2, text(fmt.Sprintf("%s; --network NAME and --domain NAME take them into the lab as they are.", plural(len(all), "thing"))))
	return pr.flush(w)
}
