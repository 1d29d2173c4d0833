package check

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// noSecret says why ref stands for nothing; "" if it does.
func (v *vetter) noSecret(ref lab.SecretRef) string {
	name, part := ref.Split()
	s, ok := v.secrets[name]
	switch parts := s.Parts(); {
	case !ok:
		return fmt.Sprintf("there is no secret called %q", name) + lab.Meant(name, v.secretNames())
	case len(parts) == 0 && part != "":
		return fmt.Sprintf("the secret %q has no parts", name)
	case len(parts) > 0 && !slices.Contains(parts, part):
		return fmt.Sprintf("the secret %q has parts; name one: %s", name, strings.Join(quoted(name, parts), ", "))
	}
	return ""
}

func (v *vetter) secretNames() []string {
	var out []string
	for _, s := range v.lab.Secrets {
		out = append(out, s.Name)
	}
	return out
}

// certificates checks what certificates are for, and whose.
func (v *vetter) certificates() {
	for _, s := range v.lab.Secrets {
		if s.Certificate == nil {
			continue
		}
		at := lab.Path("secrets", s.Name, "certificate")
		if a, ok := v.secrets[s.Certificate.Authority]; !ok {
			v.error(at+".authority", "there is no secret called %q", s.Certificate.Authority)
		} else if a.Authority == nil {
			v.error(at+".authority", "the secret %q is no certificate authority", a.Name)
		}
		for _, x := range s.Certificate.For {
			v.subject(at+".for", x)
		}
	}
}

// subject checks one name or address that a certificate is for.
func (v *vetter) subject(at, x string) {
	if a, err := netip.ParseAddr(x); err == nil {
		if a.Zone() != "" || a.IsUnspecified() {
			v.error(at, "%q is no address of one machine", x)
		}
		return
	}
	rest, wild := strings.CutPrefix(x, "*.")
	parts := strings.Split(rest, ".")
	number := strings.Trim(parts[len(parts)-1], "0123456789") == "" // the end of an address that is none
	for _, part := range parts {
		if !label.MatchString(part) || number || len(rest) > 253 || wild && len(parts) == 1 {
			v.error(at, "%q is no machine, DNS name (in lower case) or address", x)
			return
		}
	}
}

// quoted are the names of a secret's parts.
func quoted(name string, parts []string) []string {
	var out []string
	for _, p := range parts {
		out = append(out, fmt.Sprintf("%q", name+"#"+p))
	}
	return out
}
