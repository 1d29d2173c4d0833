package reach

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// VetBehind returns what a host's own filter changes about a lab, sorted by path: expectations that it breaks, machines
// that labctl would not get into, what it stops of that which the machines' rules let through (all errors), and what it lets
// onto a network that no router would (a warning: the routers still stop it). The lab has passed Vet by itself. See Behind.
func VetBehind(l lab.Lab, filter lab.Filter) ([]check.Finding, error) {
	plain, err := Prove(l)
	if err != nil {
		return nil, err
	}
	walled := With(l, plain.sets)
	walled.wall(filter)
	before := plain.Findings()
	var out []check.Finding
	for _, f := range slices.Concat(walled.expected(), walled.lockedOut()) {
		if !slices.ContainsFunc(before, func(b check.Finding) bool { return b.Path == f.Path && b.Severity == f.Severity }) {
			out = append(out, f)
		}
	}
	if len(out) == 0 { // else the expectations say it better
		out = append(out, stopped(plain, walled)...)
	}
	for _, n := range filter.Networks {
		out = append(out, plain.wider(n, filter)...)
	}
	return sorted(out), nil
}

// stopped is what a host's filter stops, by the rules of the lab that let it through.
func stopped(plain, walled *Proof) []check.Finding {
	var out []check.Finding
	for _, c := range Compare(plain, walled).Closes {
		if c.Unusual || c.Family == "IPv6" {
			continue
		}
		f := check.Finding{Severity: check.Error, Path: "policy"}
		by := "nothing is between them"
		if len(c.By) > 0 {
			by = fmt.Sprintf("%s rule %q lets it through", c.By[0].Kind, c.By[0].Name)
			if c.By[0].Path != "" {
				f.Path = c.By[0].Path
			}
		}
		f.Text = fmt.Sprintf("%s does not reach %s on %s: %s, and %s", names(c.From), strings.Join(c.Services, " "), names(c.To), by, walled.stopper(c))
		out = append(out, f)
	}
	return out
}

// stopper is what stops a passage.
func (p *Proof) stopper(c Passage) string {
	for _, usual := range []bool{true, false} {
		for _, from := range c.From {
			for _, to := range c.To {
				if v, ok := p.halted(from.Name, to.Name, c.Services, usual); ok {
					return v.Decision.String() + " stops it"
				}
			}
		}
	}
	return "the host's filter stops it"
}

// halted is a packet of one of services that a host's filter stops between two.
func (p *Proof) halted(from, to string, services []string, usual bool) (Verdict, bool) {
	for _, s := range services {
		service, err := lab.ParseService(s)
		if err != nil { // "other protocols"
			service = lab.Service{Proto: lab.Any}
		}
		all, err := p.Query(from, to, service)
		if err != nil {
			continue
		}
		for _, v := range all {
			if !v.Allowed && v.Usual == usual && v.Decision.Origin.Kind == nft.Outside {
				return v, true
			}
		}
	}
	return Verdict{}, false
}

func names(all []Party) string {
	var out []string
	for _, p := range all {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
