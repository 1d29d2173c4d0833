package schema

import (
	"cmp"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

func (d *decoder) secret(path, name string, s secretDoc) lab.Secret {
	out, sources := lab.Secret{Name: name, Certificate: s.Certificate, Authority: s.Authority}, 0
	if s.Env != nil {
		out.Env, sources = *s.Env, sources+1
	}
	if s.File != nil {
		out.File, sources = *s.File, sources+1
	}
	if s.Generate != nil {
		out.Generate, sources = *s.Generate, sources+1
	}
	if s.Certificate != nil {
		sources++
	}
	if s.Authority != nil {
		sources++
	}
	if sources != 1 || out == (lab.Secret{Name: name}) {
		d.problem(path, "needs exactly one of env, file, generate, certificate and authority")
	}
	return out
}

// rootAuthority issues certificates that name no other authority.
const rootAuthority = "ca/root"

// authorities completes the lab's authorities: the one that every lab has if a certificate is to be issued by it, and
// their names.
func authorities(l *lab.Lab) {
	asked := slices.ContainsFunc(l.Secrets, func(s lab.Secret) bool {
		return s.Certificate != nil && s.Certificate.Authority == rootAuthority
	})
	if _, has := l.Secret(rootAuthority); asked && !has {
		l.Secrets = append(l.Secrets, lab.Secret{Name: rootAuthority, Authority: &lab.Authority{Days: 3650}})
		slices.SortFunc(l.Secrets, func(a, b lab.Secret) int { return strings.Compare(a.Name, b.Name) })
	}
	for _, s := range l.Secrets {
		if s.Authority != nil {
			s.Authority.Name = cmp.Or(s.Authority.Name, l.Name+" root")
		}
	}
}
