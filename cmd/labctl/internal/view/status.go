package view

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// Status writes the lab's machines and networks: what the spec says against what lives.
func Status(w io.Writer, s LabStatus, o Options) error {
	pr := &printer{Options: o}
	pr.line(0, 2, span{fmt.Sprintf("Lab %s on target %s", s.Lab, s.Target), bold})
	if len(s.Machines)+len(s.Networks) == 0 {
		pr.line(0, 2, text("It has no machines and no networks."))
		return pr.flush(w)
	}
	asked := slices.ContainsFunc(s.Machines, func(m MachineStatus) bool { return m.Health != "" })
	machines := &table{header: []string{"machine", "power", "health", "addresses", "uptime", "pending"}}
	for _, m := range s.Machines {
		up := ""
		if m.Uptime > 0 {
			up = uptime(m.Uptime)
		}
		if asked && m.Health == "" && m.Power == "on" {
			m.Health = "-" // after apply: it was not touched
		}
		machines.add(text(m.Name), powerSpan(m.Power), healthOf(m), text(strings.Join(m.Addresses, ", ")), text(up), pending(m))
	}
	if len(s.Machines) > 0 {
		pr.blank()
		machines.write(pr, 0)
	}
	networks := &table{header: []string{"network", "state", "addresses", "ports", "uplink", "pending"}}
	for _, n := range s.Networks {
		uplink, changes := "", ""
		if n.Uplink {
			uplink = "yes"
		}
		if n.Changes > 0 {
			changes = plural(n.Changes, "change")
		}
		networks.add(text(n.Name), stateSpan(n.State), text(n.CIDR), text(number(n.Ports)), text(uplink), span{changes, yellow})
	}
	if len(s.Networks) > 0 {
		pr.blank()
		networks.write(pr, 0)
	}
	pr.details(s)
	return pr.flush(w)
}

// details writes what is to be said about single machines and networks.
func (pr *printer) details(s LabStatus) {
	first := true
	note := func(name, detail string) {
		for _, l := range lines(detail) {
			if first {
				pr.blank()
				first = false
			}
			pr.line(0, 4, span{name, bold}, text(": "+l))
		}
	}
	for _, m := range s.Machines {
		if m.Adopted != "" {
			note(m.Name, "adopted, "+m.Adopted+" on the host")
		}
		if m.External != "" {
			note(m.Name, "external, reached at "+m.External)
		}
		if m.Health == "installing" {
			note(m.Name, installText(m.Install))
		}
		note(m.Name, m.Detail)
	}
	for _, n := range s.Networks {
		if n.Adopted != "" {
			note(n.Name, "adopted, "+n.Adopted+" on the host")
		}
		note(n.Name, n.Detail)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Foreign)) {
		note(name, othersText(s.Foreign[name]))
	}
}

// othersText says what somebody else has put into a thing of the lab.
func othersText(others string) string { return "in it is what labctl did not make: " + others }

func powerSpan(p string) span {
	switch p {
	case "on":
		return span{p, green}
	case "off":
		return span{p, faint}
	}
	return span{p, yellow}
}

func stateSpan(s string) span {
	if s == "up" {
		return span{s, green}
	}
	return span{s, red}
}

// healthOf is a machine's health; of one that installs itself, how far it is.
func healthOf(m MachineStatus) span {
	i := m.Install
	switch {
	case m.Health != "installing" || i == nil:
		return healthSpan(m.Health)
	case i.Error != "":
		return span{fmt.Sprintf("install failed %d/%d", i.Number, i.Of), red}
	case i.Done:
		return span{"installed", yellow}
	}
	return span{fmt.Sprintf("installing %d/%d, %d %%", i.Number, i.Of, i.Percent), yellow}
}

// installText is what is to be said of an installation that has failed: where, why, and the installer's last lines.
func installText(i *provider.Installation) string {
	if i == nil || i.Error == "" {
		return ""
	}
	return strings.Join(append([]string{i.String() + ": " + i.Error}, i.Log...), "\n")
}

func healthSpan(h string) span {
	switch h {
	case "healthy":
		return span{h, green}
	case "", "-":
		return span{h, faint}
	case "booting":
		return span{h, yellow}
	}
	return span{h, red}
}

// pending is what the next apply would do to a machine.
func pending(m MachineStatus) span {
	switch {
	case m.Extra:
		return span{"not in the spec", yellow}
	case m.Changes == 0:
		return text("")
	case m.Pending == provider.None:
		return span{plural(m.Changes, "change"), yellow}
	}
	return span{fmt.Sprintf("%s (%s)", m.Pending, plural(m.Changes, "change")), impactSpan(m.Pending).style}
}

// uptime is d in its two largest units, e.g. "3h12m".
func uptime(d time.Duration) string {
	s := int(d / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", s/86400, s/3600%24)
}
