package schema

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// named reads the lab's own names for services, which d.service knows afterwards.
func (d *decoder) named(all map[string]names) {
	services := map[string][]lab.Service{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		path := lab.Path("services", name)
		if _, err := lab.ParseService(name); err == nil {
			d.problem(path, "%q means something already: choose another name", name)
		}
		services[name] = d.serviceList(path, all[name])
	}
	d.services, d.own = services, maps.Clone(services) // only now: a name does not stand for other names
}

// serviceList is what the services written at path stand for, each once.
func (d *decoder) serviceList(path string, n names) []lab.Service {
	var out []lab.Service
	for i, text := range n.all {
		for _, s := range d.service(n.path(path, i), text) {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
	}
	return out
}

func (d *decoder) service(path, text string) []lab.Service {
	if s, ok := d.services[text]; ok {
		return s
	}
	s, err := lab.ParseService(text)
	if err != nil {
		d.problem(path, "%v%s", err, d.known(text))
	}
	return []lab.Service{s}
}

// known says which names for services there are.
func (d *decoder) known(text string) string {
	near := lab.Meant(text, slices.Collect(maps.Keys(d.services)))
	if near == "" && len(d.services) > 0 {
		return ", nor the name of one in services"
	}
	return near
}

func (d *decoder) policy(all entries) []lab.Rule {
	var out []lab.Rule
	for _, e := range all {
		path := lab.Path("policy", e.name)
		var v ruleDoc
		d.member(path, e, &v)
		r := lab.Rule{Name: v.Name, From: v.From.all, To: v.To.all, Allow: d.serviceList(path+".allow", v.Allow), Log: v.Log, Path: path}
		switch {
		case r.Name == "" && e.index > 0:
			r.Name = fmt.Sprint("rule ", e.index)
		case r.Name == "":
			r.Name = e.name
		}
		out = append(out, r)
	}
	return out
}

func (d *decoder) expect(all entries) []lab.Expectation {
	var out []lab.Expectation
	for _, e := range all {
		path := lab.Path("expect", e.name)
		var v expectationDoc
		d.member(path, e, &v)
		x := lab.Expectation{From: v.From.all, On: v.On.all, Never: v.Never != nil, Path: path}
		switch {
		case (v.Never == nil) == (v.Reaches == nil):
			d.problem(path, "needs exactly one of never and reaches")
		case v.Never != nil:
			x.Services = d.serviceList(path+".never", *v.Never)
		default:
			x.Services = d.serviceList(path+".reaches", *v.Reaches)
		}
		out = append(out, x)
	}
	return out
}

func (d *decoder) implied(v *impliedDoc) *lab.Implied {
	if v == nil {
		return nil
	}
	out := &lab.Implied{DNS: v.DNS.all, NTP: v.NTP.all, Jump: v.Jump.all}
	for i, text := range v.Admin {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			d.problem(fmt.Sprint("implied.admin.", i), "%q is not a network such as \"10.0.0.0/8\"", text)
		}
		out.Admin = append(out.Admin, p)
	}
	return out
}

func (d *decoder) check(path string, v checkDoc) lab.Check {
	kinds := 0
	for _, is := range []bool{v.TCP != nil, v.HTTP != nil, v.DNS != nil, v.Command != nil} {
		if is {
			kinds++
		}
	}
	if kinds != 1 {
		d.problem(path, "needs exactly one of tcp, http, dns and command")
	}
	return lab.Check{From: v.From, TCP: v.TCP, HTTP: v.HTTP, DNS: v.DNS, Command: v.Command,
		Within: d.duration(path+".within", v.Within), Path: path}
}
