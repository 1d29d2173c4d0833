package check

import (
	"regexp"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// label is RFC 1123's form of a host name's part, in lower case, as hypervisors and DNS want it.
var label = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// file is a name that may become a file's; a secret's may have folders.
var file = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// device is the address of a PCI device: domain, bus, device and function.
var device = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$`)

const labelForm = `a DNS label (1 to 63 of a-z, 0-9 and "-", neither first nor last a "-")`

func (v *vetter) label(path, name string) {
	if !label.MatchString(name) {
		v.error(path, "%q is not %s", name, labelForm)
	}
}

// names checks every name that becomes a host's, a file's or an object's.
func (v *vetter) names() {
	v.label("name", v.lab.Name)
	v.domain()
	for _, n := range v.lab.Networks {
		v.label(lab.Path("networks", n.Name), n.Name)
	}
	for _, t := range v.lab.Targets {
		v.label(lab.Path("targets", t.Name), t.Name)
		v.label(lab.Path("targets", t.Name, "provider"), t.Provider)
	}
	for _, i := range v.lab.Images {
		if !file.MatchString(i.Name) {
			v.error(lab.Path("images", i.Name), `%q is not a name for an image (a-z, 0-9, "-", "_" and ".")`, i.Name)
		}
	}
	for _, s := range v.lab.Secrets {
		if !secretName(s.Name) {
			v.error(lab.Path("secrets", s.Name), secretForm, s.Name)
		}
	}
	seen := map[string]lab.Machine{}
	for _, m := range v.lab.Machines {
		v.label(m.Path(), m.Name)
		if other, ok := seen[m.Name]; ok {
			v.clash(m.Path(), other.Path(), "there are two machines called %q", m.Name)
		}
		seen[m.Name] = m
	}
}

func (v *vetter) domain() {
	for _, part := range strings.Split(v.lab.Domain, ".") {
		if !label.MatchString(part) {
			v.error("domain", "%q is not a DNS domain: %q is not %s", v.lab.Domain, part, labelForm)
			return
		}
	}
	if len(v.lab.Domain) > 253-64 {
		v.error("domain", "the domain has %d characters; with the name of a machine before it DNS allows %d", len(v.lab.Domain), 253-64)
	}
}
