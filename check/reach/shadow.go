package reach

import (
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/guest/nft"
)

// shadowed finds rules of the policy of which everything is allowed by others before them, on every machine. What holds
// for one of twins holds for all.
func (p *Proof) shadowed(twins map[string]string) []check.Finding {
	needed, by := map[string]bool{}, map[string]string{}
	for _, m := range p.lab.Machines {
		n := p.nodes[m.Name]
		if other, ok := twins[m.Name]; n.filter == nil || ok && other != m.Name {
			continue
		}
		for _, hook := range []nft.Hook{nft.Input, nft.Forward} {
			for _, c := range n.filter.chains[hook] {
				dst := union(all4, all6)
				if hook == nft.Input {
					dst = n.local // others never get there
				}
				cover(c, dst, needed, by)
			}
		}
	}
	var out []check.Finding
	for _, r := range p.lab.Policy {
		if other := by[r.Path]; other != "" && !needed[r.Path] {
			f := finding(check.Warning, r.Path, "rule %q decides nothing: %s allows all of that already", r.Name, p.called(other))
			f.Related = []string{other}
			out = append(out, f)
		}
	}
	return out
}

// called is what a rule's path stands for, in the words of a finding.
func (p *Proof) called(path string) string {
	for _, r := range p.lab.Policy {
		if r.Path == path {
			return fmt.Sprintf("rule %q", r.Name)
		}
	}
	return path
}

// cover notes which rules of the policy decide something in a chain about packets to dst, and which others come before
// those that do not.
func cover(c chain, dst addrs, needed map[string]bool, by map[string]string) {
	type earlier struct {
		box  box
		path string
	}
	var before []earlier
	for i := range c.rules {
		r := &c.rules[i]
		m := r.Match
		if len(m.State) > 0 || m.DNATed || m.Local || r.Action != nft.Accept {
			continue
		}
		free := len(m.In)+len(m.Out) == 0
		for _, b := range r.boxes {
			if b.dst = b.dst.and(dst); b.empty() {
				continue
			}
			rest, last := []box{b}, ""
			for _, e := range before {
				if !slices.ContainsFunc(rest, e.box.meets) {
					continue
				}
				var left []box
				for _, x := range rest {
					if x.meets(e.box) {
						last = e.path
					}
					left = append(left, x.minus(e.box)...)
				}
				if rest = left; len(rest) == 0 {
					break
				}
			}
			if r.Origin.Kind != nft.FromPolicy {
				continue
			}
			if len(rest) > 0 || last == r.Origin.Path {
				needed[r.Origin.Path] = true
			} else {
				by[r.Origin.Path] = last
			}
		}
		if free {
			for _, b := range r.boxes {
				before = append(before, earlier{b, r.Origin.Path})
			}
		}
	}
}
