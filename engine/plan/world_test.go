package plan

import (
	"fmt"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// description is a hypervisor with every trait that plan.Compute looks at.
func description() provider.Description {
	live, reboot, replace := provider.Attr{Impact: provider.Live}, provider.Attr{Impact: provider.Reboot}, provider.Attr{Impact: provider.Replace}
	return provider.Description{Name: "toy", Kinds: []provider.Kind{
		{Name: "image", Attrs: map[string]provider.Attr{"source": replace}},
		{Name: "network", Attrs: map[string]provider.Attr{"mtu": live, "cidr": replace, "domain": {Impact: provider.Reconfigure}}},
		{Name: "disk", Data: true, Attrs: map[string]provider.Attr{
			"image": {Impact: provider.Reinstall}, "size": {Impact: provider.Live, Lower: provider.Reinstall}}},
		{Name: "machine", Machine: true, Seeded: true, RemadeWith: []string{"disk"}, Attrs: map[string]provider.Attr{
			"memory": reboot, "power": {Impact: provider.Reboot, Alike: []string{"on", "saved", "suspended"}}, "disks": live, "nics": live, "protect": live, "motd": {Impact: provider.Reconfigure}, "arch": replace}},
		{Name: "guest", Guest: true, RemadeWith: []string{"machine"}, Attrs: map[string]provider.Attr{"digest": {Impact: provider.Reconfigure}}},
	}}
}

// at is an address: at("disk/web/root").
func at(s string) provider.Addr {
	kind, name, _ := strings.Cut(s, "/")
	return provider.Addr{Provider: "toy", Kind: kind, Name: name}
}

// owner is the machine a thing is a part of.
func owner(a provider.Addr) string {
	switch a.Kind {
	case "disk":
		m, _, _ := strings.Cut(a.Name, "/")
		return m
	case "machine", "guest":
		return a.Name
	}
	return ""
}

// world is a set of things by address.
type world map[string]thing

type thing struct {
	attrs  provider.Attrs
	needs  []string
	shared bool
}

// small is a lab with one of everything, and two machines.
func small() world {
	w := world{
		"image/deb":   {attrs: provider.Attrs{"source": "s1"}, shared: true},
		"network/lan": {attrs: provider.Attrs{"mtu": 1500.0, "cidr": "10.0.0.0/24"}},
		"network/dmz": {attrs: provider.Attrs{"mtu": 1500.0, "cidr": "10.1.0.0/24"}},
	}
	for _, m := range []string{"db", "web"} {
		w["disk/"+m+"/root"] = thing{attrs: provider.Attrs{"image": "s1", "size": 10.0}, needs: []string{"image/deb"}}
		w["machine/"+m] = thing{attrs: provider.Attrs{"memory": 512.0, "power": "on"}, needs: []string{"disk/" + m + "/root", "network/lan"}}
		w["guest/"+m] = thing{attrs: provider.Attrs{"digest": "d1"}, needs: []string{"machine/" + m}}
	}
	return w
}

func (w world) clone() world {
	c := world{}
	for a, t := range w {
		attrs := provider.Attrs{}
		for k, v := range t.attrs {
			attrs[k] = v
		}
		c[a] = thing{attrs, append([]string(nil), t.needs...), t.shared}
	}
	return c
}

// set changes an attribute; a nil value takes it away.
func (w world) set(a, attr string, v any) world {
	t, ok := w[a]
	if !ok {
		panic("no " + a)
	}
	if v == nil {
		delete(t.attrs, attr)
	} else {
		t.attrs[attr] = v
	}
	return w
}

func (w world) without(as ...string) world {
	for _, a := range as {
		delete(w, a)
	}
	return w
}

func (w world) with(a string, t thing) world { w[a] = t; return w }

func (w world) needs(a string, needs ...string) world {
	t := w[a]
	t.needs = needs
	w[a] = t
	return w
}

func (w world) desired() []provider.Resource {
	var rs []provider.Resource
	for a, t := range w {
		r := provider.Resource{Addr: at(a), Attrs: t.attrs, Machine: owner(at(a))}
		for _, n := range t.needs {
			r.Needs = append(r.Needs, at(n))
		}
		rs = append(rs, r)
	}
	return rs
}

func (w world) observed() []provider.Observed {
	var os []provider.Observed
	for a, t := range w {
		o := provider.Observed{Addr: at(a), Attrs: t.attrs, Machine: owner(at(a)), Shared: t.shared}
		for _, n := range t.needs {
			o.Needs = append(o.Needs, at(n))
		}
		os = append(os, o)
	}
	return os
}

// tell is a change in one line.
func tell(c Change) string {
	s := fmt.Sprintf("%s %s/%s", c.Action, c.Addr.Kind, c.Addr.Name)
	if c.Impact != "" {
		s += " " + string(c.Impact)
	}
	for _, r := range c.Reasons {
		if r.Because != nil {
			s += fmt.Sprintf(" because=%s/%s", r.Because.Kind, r.Because.Name)
		} else if r.Asked {
			s += " ASKED"
		} else {
			s += " " + r.Attr
		}
	}
	if c.DataLoss {
		s += " LOST"
	}
	if len(c.CutOff) > 0 {
		s += " cuts=" + strings.Join(c.CutOff, ",")
	}
	if c.Refused != "" {
		s += " REFUSED"
	}
	return s
}

func tellAll(p Plan) []string {
	var all []string
	for _, c := range p.Changes {
		all = append(all, tell(c))
	}
	for _, d := range p.Deferred {
		all = append(all, "deferred "+d.Addr.Kind+"/"+d.Addr.Name)
	}
	return all
}
