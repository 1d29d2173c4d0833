package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/certificate"
	"github.com/labctl-dev/labctl/lab"
)

// Edition is the certificate that the next Values gives.
type Edition struct {
	Edition int
	// Why says why the certificate that the store has is made again, e.g. "certificate tls/web ends 2026-12-01"; "" if it
	// is not, or if there is none yet.
	Why string
}

// Editions tells of each certificate and authority among secrets what the next Values gives. Nothing is written.
func (s Sources) Editions(secrets []lab.Secret) (map[string]Edition, error) {
	out := map[string]Edition{}
	for _, x := range secrets {
		if x.Parts() == nil {
			continue
		}
		k, err := s.issued(x)
		if err != nil {
			return nil, fmt.Errorf("secrets.%q: %w", x.Name, err)
		}
		out[x.Name] = Edition{k.pair.Edition, k.why}
	}
	return out, nil
}

// parts adds the parts of a certificate or an authority to values.
func (s Sources) parts(x lab.Secret, values map[string]string) error {
	k, err := s.issued(x)
	if err != nil {
		return err
	}
	if err := s.keep(k); err != nil {
		return err
	}
	key, err := k.pair.Key()
	if err != nil {
		return err
	}
	values[x.Name+"#"+lab.SecretKey], values[x.Name+"#"+lab.SecretCert] = key, k.pair.Cert()
	if k.by != nil {
		values[x.Name+"#"+lab.SecretChain] = k.pair.Cert() + k.by.pair.Cert()
	}
	return nil
}

// issued is a certificate as the store has it or should have it.
type issued struct {
	pair certificate.Pair
	by   *issued // the authority of a certificate
	path string  // of its file
	new  bool    // the store does not have it
	why  string  // of what is made again
}

// issued reads a certificate from the store, or makes it in memory.
func (s Sources) issued(x lab.Secret) (issued, error) {
	k := issued{path: Store(s.Store).file(certified, x.Name)}
	if x.Certificate != nil {
		a, ok := s.Lab.Secret(x.Certificate.Authority)
		if !ok || a.Authority == nil {
			return k, fmt.Errorf("there is no certificate authority called %q", x.Certificate.Authority)
		}
		by, err := s.issued(a)
		if err != nil {
			return k, fmt.Errorf("its authority, secrets.%q: %w", a.Name, err)
		}
		k.by = &by
	}
	text, err := os.ReadFile(k.path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.ReadOnly:
		return k, errors.New(notYet)
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return k, fmt.Errorf("cannot read what labctl keeps of it: %w", err)
	default:
		if k.pair, err = certificate.Decode(string(text)); err != nil {
			return k, fmt.Errorf("cannot use %s: %w", k.path, err)
		}
	}
	if s.ReadOnly {
		return k, nil
	}
	return k, s.renew(&k, x)
}

// renew makes a certificate in memory if there is none, or if it must be made again.
func (s Sources) renew(k *issued, x lab.Secret) (err error) {
	w, kind := s.wanted(x)
	before := k.pair
	if before.Edition > 0 {
		stale := ""
		if k.by == nil {
			stale = before.Stale(w, s.Now)
		} else {
			stale = before.StaleOf(w, k.by.pair, s.Now)
		}
		if stale == "" {
			return nil
		}
		k.why = kind + " " + x.Name + " " + stale
	}
	k.new = true
	if k.by == nil {
		k.pair, err = certificate.NewAuthority(w, before, s.Now)
	} else {
		k.pair, err = k.by.pair.Issue(w, before.Edition+1, s.Now)
	}
	if err != nil {
		return fmt.Errorf("cannot make the %s: %w", kind, err)
	}
	return nil
}

func (s Sources) wanted(x lab.Secret) (w certificate.Wanted, kind string) {
	if x.Authority != nil {
		return certificate.Wanted{Name: x.Authority.Name, Days: x.Authority.Days}, "authority"
	}
	w.Days = x.Certificate.Days
	w.Names, w.Addrs = s.Lab.CertificateFor(*x.Certificate)
	return w, "certificate"
}

// keep writes what the store does not have, an authority before what it issued.
func (s Sources) keep(k issued) error {
	if k.by != nil {
		if err := s.keep(*k.by); err != nil {
			return err
		}
	}
	if !k.new {
		return nil
	}
	text, err := k.pair.Encode()
	if err == nil {
		err = store(s.Store, k.path, text)
	}
	if err != nil {
		return fmt.Errorf("cannot keep what was made: %w", err)
	}
	return nil
}
