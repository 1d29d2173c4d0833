package lab

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Secret is where a secret's value comes from; never the value. Exactly one source is set.
type Secret struct {
	Name        string       `json:"name"`
	Env         string       `json:"env,omitempty"`      // environment variable of the labctl process
	File        string       `json:"file,omitempty"`     // path, relative to the spec's folder
	Generate    int          `json:"generate,omitempty"` // random characters (16 to 128), made once and kept by labctl, mode 0600
	Certificate *Certificate `json:"certificate,omitempty"`
	Authority   *Authority   `json:"authority,omitempty"`
	// Edition counts the times that a certificate, an authority's too, was issued: 1 is the first. It is 0 as the spec says
	// it; whoever keeps the certificates fills it in. It counts in Seed.Digest, since what is issued by the next apply is
	// not known when that is planned.
	Edition int `json:"edition,omitempty"`
}

// Certificate is an X.509 certificate with its key, made by labctl and kept with mode 0600.
type Certificate struct {
	For       []string `json:"for"`       // machines, DNS names (also "*.NAME") and addresses; see Lab.CertificateFor
	Days      int      `json:"days"`      // how long it is valid, 1 to 3650
	Authority string   `json:"authority"` // the name of the Secret with the authority that issues it
}

// Authority is a certificate authority: a root certificate, which signs no other authorities', with its key, made by
// labctl and kept with mode 0600.
type Authority struct {
	Name string `json:"name"` // the common name of its certificate
	Days int    `json:"days"` // how long that is valid, 1 to 36500
}

// The parts of a certificate and of an authority, each as PEM. An authority has no SecretChain.
const (
	SecretKey   = "key"   // the private key, PKCS #8
	SecretCert  = "cert"  // the certificate alone
	SecretChain = "chain" // the certificate, then its authority's
)

// SecretRef is how a file names a secret: NAME, or NAME#PART where the secret has parts.
type SecretRef string

// Split is the name of the secret, and the part, "" where none is said.
func (r SecretRef) Split() (name, part string) {
	name, part, _ = strings.Cut(string(r), "#")
	return name, part
}

// Public says whether everybody may read what it stands for: a certificate without its key.
func (r SecretRef) Public() bool {
	_, part := r.Split()
	return part == SecretCert || part == SecretChain
}

// Parts are the parts of the secret that a SecretRef may name; nil if it is one value.
func (s Secret) Parts() []string {
	switch {
	case s.Certificate != nil:
		return []string{SecretKey, SecretCert, SecretChain}
	case s.Authority != nil:
		return []string{SecretKey, SecretCert}
	}
	return nil
}

// Secrets are all secrets in the file, sorted.
func (f File) Secrets() []SecretRef {
	var refs []SecretRef
	for _, ref := range slices.Sorted(maps.Values(f.Fill)) {
		refs = append(refs, SecretRef(ref))
	}
	if f.Secret != "" {
		refs = append(refs, SecretRef(f.Secret))
	}
	slices.Sort(refs)
	return slices.Compact(refs)
}

// Public says whether all secrets in the file are public parts, so that everybody may read the file. A seed is full of
// them.
func (f File) Public() bool {
	return (f.From == nil || f.From.Seed == "") && !slices.ContainsFunc(f.Secrets(), func(r SecretRef) bool { return !r.Public() })
}

// Secret returns the secret called name.
func (l Lab) Secret(name string) (Secret, bool) {
	for _, s := range l.Secrets {
		if s.Name == name {
			return s, true
		}
	}
	return Secret{}, false
}

// CertificateFor is what a certificate is for: c.For, in which a machine of the lab stands for its full name, its name
// and every address of it that is known. Both are sorted, without doubles.
func (l Lab) CertificateFor(c Certificate) (names []string, addrs []netip.Addr) {
	for _, x := range c.For {
		if m, ok := l.Machine(x); ok {
			names = append(names, m.Name)
			if l.Domain != "" {
				names = append(names, l.FQDN(m.Name))
			}
			for _, nic := range m.NICs {
				for _, v6 := range []bool{false, true} {
					if a, ok := nic.Address(v6); ok {
						addrs = append(addrs, a)
					}
				}
			}
		} else if a, err := netip.ParseAddr(x); err == nil {
			addrs = append(addrs, a)
		} else {
			names = append(names, x)
		}
	}
	slices.Sort(names)
	slices.SortFunc(addrs, netip.Addr.Compare)
	return slices.Compact(names), slices.Compact(addrs)
}

// Certificates are the secrets with a certificate that stand in files of m, with their authorities, by name.
func (l Lab) Certificates(m Machine) map[string]Secret {
	out := map[string]Secret{}
	for _, ref := range m.Guest.Secrets() {
		name, _ := ref.Split()
		s, ok := l.Secret(name)
		if !ok || s.Parts() == nil {
			continue
		}
		out[name] = s
		if s.Certificate == nil {
			continue
		}
		if a, ok := l.Secret(s.Certificate.Authority); ok {
			out[a.Name] = a
		}
	}
	return out
}
