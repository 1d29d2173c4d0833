package gce

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// dnsCloud is the option dns of a target whose names Cloud DNS answers for: private zones for the lab's domain and for its
// addresses, which all of its VPCs see. What they say is what the role dns would.
const dnsCloud = "cloud"

// dnsTTL is how long others may keep an answer, in seconds, if nobody says otherwise.
const dnsTTL = 300

// recordOption is an entry of the option dns_records.
type recordOption struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
	TTL   *int   `json:"ttl"`
}

// settleDNS checks the options of names.
func (o *options) settleDNS() error {
	if o.DNSEndpoint == "" {
		switch base, compute := strings.CutSuffix(o.Endpoint, "/compute/v1/"); {
		case o.Endpoint == api.DefaultEndpoint:
			o.DNSEndpoint = api.DefaultDNS
		case compute && api.Loopback(o.Endpoint):
			o.DNSEndpoint = base + "/dns/v1/"
		}
	}
	switch {
	case o.DNS == dnsCloud && o.DNSEndpoint == "":
		return fmt.Errorf("dns_endpoint: with an endpoint of your own it says where Cloud DNS is")
	case o.DNS != dnsCloud && len(o.Records) > 0:
		return fmt.Errorf("dns_records: they are in Cloud DNS, with dns: \"cloud\"; else the role dns has records")
	}
	for i := range o.Records {
		if o.Records[i].Name == "" {
			o.Records[i].Name = "@"
		}
	}
	return nil
}

// refuseNames says why Cloud DNS cannot answer for a lab.
func refuseNames(l lab.Lab, o options) error {
	if o.DNS != dnsCloud {
		return nil
	}
	no := func(path, format string, args ...any) error {
		text := path + ": " + fmt.Sprintf(format, args...)
		return &provider.Error{Op: "expand", Addr: addr(kindZone, l.Domain), Code: provider.Unsupported, Path: path, Text: text}
	}
	for _, m := range l.Machines {
		for _, r := range m.Roles {
			if slices.Contains(r.Implied, "dns") {
				return pc.Refuse(addr(kindMachine, m.Name), m, provider.Unsupported, ".roles."+r.Name,
					"it would answer for the lab's names beside Cloud DNS, which does not know its records; on this target either leave it out or dns: \"cloud\"")
			}
		}
	}
	switch {
	case l.Domain == "":
		return no("domain", "Cloud DNS answers for the names of a domain, and the lab has none")
	case l.Domain == "internal" || l.Domain == "google.internal":
		return no("domain", "%s is Google's own: machines would not find their metadata server", l.Domain)
	}
	_, err := (&zones{lab: l, extra: o.Records}).all()
	if err != nil {
		return no(lab.Path("targets", l.Target, "dns_records"), "%v", err)
	}
	return nil
}

// recordSet is what a name answers, in its zone, and the machine that it is about.
type recordSet struct {
	name, kind, zone, machine string // names without the last dot
	data                      []string
	ttl                       int
}

func (r recordSet) addr() provider.Addr { return addr(kindRecord, r.name+"/"+r.kind) }

// zones are the names of a lab.
type zones struct {
	lab   lab.Lab
	extra []recordOption
	found []recordSet
}

// all are the record sets of a lab, sorted; a name that cannot be two things at once is an error.
func (z *zones) all() ([]recordSet, error) {
	for _, m := range z.lab.Machines {
		for _, a := range z.told(m) {
			z.add(recordSet{name: z.lab.FQDN(m.Name), kind: typeOf(a), zone: z.lab.Domain, machine: m.Name, ttl: dnsTTL}, a.String())
		}
		for _, nic := range m.NICs {
			n, _ := z.lab.Network(nic.Network)
			for _, v6 := range []bool{false, true} {
				p, ok := n.Prefix(v6)
				a, has := nic.Address(v6)
				if ok && has && !n.Uplink && p.Contains(a) {
					name := lab.ReverseZones(netip.PrefixFrom(a, a.BitLen()))[0]
					z.add(recordSet{name: name, kind: "PTR", zone: reverseZone(p, a), machine: m.Name, ttl: dnsTTL}, z.lab.FQDN(m.Name)+".")
				}
			}
		}
	}
	for _, o := range z.extra {
		if err := z.option(o); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(z.found, func(a, b recordSet) int { return a.addr().Compare(b.addr()) })
	for i, r := range z.found {
		slices.Sort(z.found[i].data)
		for _, other := range z.found {
			if r.kind == "CNAME" && other.name == r.name && (other.kind != "CNAME" || len(r.data) > 1) {
				return nil, fmt.Errorf("%s has records of its own, and so cannot be another name (CNAME) too", r.name)
			}
		}
	}
	return z.found, nil
}

// told are the addresses of a machine by its name: those inside the lab, or where it has none, all.
func (z *zones) told(m lab.Machine) []netip.Addr {
	var inside, all []netip.Addr
	for _, nic := range m.NICs {
		n, _ := z.lab.Network(nic.Network)
		for _, v6 := range []bool{false, true} {
			a, ok := nic.Address(v6)
			if !ok {
				continue
			}
			all = append(all, a)
			if !n.Uplink {
				inside = append(inside, a)
			}
		}
	}
	if len(inside) > 0 {
		return inside
	}
	return all
}

// add puts a record into the set of its name and type.
func (z *zones) add(r recordSet, data string) {
	i := slices.IndexFunc(z.found, func(x recordSet) bool { return x.name == r.name && x.kind == r.kind })
	if i < 0 {
		i = len(z.found)
		z.found = append(z.found, r)
	}
	if x := &z.found[i]; !slices.Contains(x.data, data) {
		x.data = append(x.data, data)
	}
}

// option adds a record of the option dns_records. Its names are completed: Cloud DNS takes whole ones alone.
func (z *zones) option(o recordOption) error {
	name, err := z.whole(o.Name)
	if err != nil {
		return err
	}
	r := recordSet{name: name, kind: o.Type, zone: z.lab.Domain, ttl: dnsTTL}
	if o.TTL != nil {
		r.ttl = *o.TTL
	}
	value, words := o.Value, strings.Fields(o.Value)
	if len(words) == 0 {
		return fmt.Errorf("the %s record of %s says nothing", o.Type, name)
	}
	switch o.Type {
	case "A", "AAAA":
		a, err := netip.ParseAddr(value)
		if err != nil || typeOf(a) != o.Type {
			return fmt.Errorf("%s of %s: %q is no such address", o.Type, name, value)
		}
		value = a.String()
	case "CNAME", "MX", "SRV":
		last := &words[len(words)-1]
		if !strings.HasSuffix(*last, ".") {
			whole, err := z.whole(*last)
			if err != nil {
				return err
			}
			*last = whole + "."
		}
		value = strings.Join(words, " ")
	case "TXT":
		value = quoted(value)
	}
	z.add(r, value)
	return nil
}

// whole is a name of the lab's zone without its last dot.
func (z *zones) whole(name string) (string, error) {
	name = strings.ToLower(name)
	full, ended := strings.CutSuffix(name, ".")
	switch {
	case name == "@":
		return z.lab.Domain, nil
	case ended && full != z.lab.Domain && !strings.HasSuffix(full, "."+z.lab.Domain):
		return "", fmt.Errorf("%s is not in the zone %s", name, z.lab.Domain)
	case ended:
		return full, nil
	}
	return name + "." + z.lab.Domain, nil
}

func typeOf(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

// quoted is a text as zones have it: in parts of at most 255 characters.
func quoted(text string) string {
	text = strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)
	var parts []string
	for len(text) > 200 {
		cut := 200
		for strings.HasSuffix(text[:cut], `\`) { // what is escaped stays together
			cut--
		}
		parts, text = append(parts, `"`+text[:cut]+`"`), text[cut:]
	}
	return strings.Join(append(parts, `"`+text+`"`), " ")
}

// reverseZone is the zone of an address's name: that of its network's prefix, ended at an octet or a hexadecimal digit. In
// 172.16.0.0/12 it has two octets at least: for a wider zone Google would go on to answer with names of its own
// (https://cloud.google.com/dns/docs/zones/zones-overview#ptr-records-in-private-zones).
func reverseZone(p netip.Prefix, a netip.Addr) string {
	step, least := 8, 1
	if a.Is6() {
		step = 4
	} else if netip.MustParsePrefix("172.16.0.0/12").Contains(a) {
		least = 2
	}
	fixed := min(max(p.Bits()/step, least), a.BitLen()/step-1)
	return lab.ReverseZones(netip.PrefixFrom(a, fixed*step))[0]
}

// names are the zones and records of Cloud DNS.
func (x *expansion) names() error {
	if x.opts.DNS != dnsCloud {
		return nil
	}
	all, err := (&zones{lab: x.lab, extra: x.opts.Records}).all()
	if err != nil {
		return &provider.Error{Op: "expand", Code: provider.Invalid, Text: err.Error()}
	}
	seen := zoneAttrs{Visibility: "private", Networks: []string{}}
	var networks []provider.Addr
	for _, n := range x.lab.Networks {
		seen.Networks = append(seen.Networks, n.Name)
		networks = append(networks, addr(kindNetwork, n.Name))
	}
	slices.Sort(seen.Networks)
	var domains []string
	for _, r := range all {
		domains = append(domains, r.zone)
	}
	slices.Sort(domains)
	for _, d := range slices.Compact(domains) {
		if err := x.add(kindZone, d, "", seen, networks...); err != nil {
			return err
		}
	}
	for _, r := range all {
		if err := x.add(kindRecord, r.addr().Name, r.machine, recordAttrs{r.zone, r.data, r.ttl}, addr(kindZone, r.zone)); err != nil {
			return err
		}
	}
	return nil
}
