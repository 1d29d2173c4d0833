// Package certificate makes X.509 certificates for a lab's machines and the authority that issues them, and says when
// they must be made again.
//
// It must not know where they are kept, nor what time it is: both are told to it.
package certificate

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Pair is a certificate with its private key (ECDSA P-256). The key is a secret.
type Pair struct {
	Edition int // how often it was issued: 1 is the first
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
}

// Wanted is what a certificate should be. An authority's has neither Names nor Addrs.
type Wanted struct {
	Name  string       // the common name of an authority's
	Names []string     // DNS names, sorted
	Addrs []netip.Addr // sorted
	Days  int          // how long it should be valid
}

// early is how much sooner than it is issued a certificate is valid: the clocks of machines that have just started may be
// behind.
const early = time.Hour

// NewAuthority makes an authority's root certificate, which signs no other authorities'. before is the authority as it
// was, whose key is kept, so that what it has issued stays good; or the zero Pair.
func NewAuthority(w Wanted, before Pair, now time.Time) (Pair, error) {
	key := before.key
	if key == nil {
		var err error
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return Pair{}, err
		}
	}
	t := template(w, now)
	t.Subject = pkix.Name{CommonName: w.Name}
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.IsCA, t.MaxPathLenZero = true, true
	return sign(t, t, key, key, before.Edition+1)
}

// Issue makes a certificate for TLS servers and clients. It does not outlive the authority's.
func (authority Pair) Issue(w Wanted, edition int, now time.Time) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	t := template(w, now)
	t.NotAfter = authority.limit(t.NotAfter)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	t.DNSNames = w.Names
	for _, a := range w.Addrs {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	if i := slices.IndexFunc(w.Names, func(n string) bool { return len(n) <= 64 && n[0] != '*' }); i >= 0 { // X.520's bound
		t.Subject = pkix.Name{CommonName: w.Names[i]}
	}
	return sign(t, authority.cert, key, authority.key, edition)
}

// template has what all certificates have. Go gives each a random serial number.
func template(w Wanted, now time.Time) *x509.Certificate {
	begin := now.Add(-early).UTC().Truncate(time.Second)
	return &x509.Certificate{NotBefore: begin, NotAfter: w.end(begin), BasicConstraintsValid: true}
}

// end is the end of a certificate that is valid from begin.
func (w Wanted) end(begin time.Time) time.Time {
	return begin.Add(early + time.Duration(w.Days)*24*time.Hour)
}

// limit is t, or the authority's end if that is sooner.
func (authority Pair) limit(t time.Time) time.Time {
	if end := authority.cert.NotAfter; end.Before(t) {
		return end
	}
	return t
}

func sign(t, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey, edition int) (Pair, error) {
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), parentKey)
	if err != nil {
		return Pair{}, err
	}
	cert, err := x509.ParseCertificate(der)
	return Pair{edition, cert, key}, err
}

// Stale says why an authority's certificate must be made again, as a sentence about it such as "ends 2026-12-01"; ""
// if it need not.
func (p Pair) Stale(w Wanted, now time.Time) string {
	if p.cert.Subject.CommonName != w.Name {
		return "has another name in the lab"
	}
	return p.aged(w.end(p.cert.NotBefore), now)
}

// StaleOf is Stale for a certificate that authority should have issued.
func (p Pair) StaleOf(w Wanted, authority Pair, now time.Time) string {
	var addrs []netip.Addr
	for _, ip := range p.cert.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		addrs = append(addrs, a.Unmap())
	}
	switch {
	case !bytes.Equal(p.cert.RawIssuer, authority.cert.RawSubject) || p.cert.CheckSignatureFrom(authority.cert) != nil:
		return "is not of the lab's authority as it is now"
	case !slices.Equal(p.cert.DNSNames, w.Names) || !slices.Equal(addrs, w.Addrs):
		return "is for other names than in the lab"
	}
	return p.aged(authority.limit(w.end(p.cert.NotBefore)), now)
}

// aged is about the days that a certificate is valid, which should end at end.
func (p Pair) aged(end, now time.Time) string {
	left, all := p.cert.NotAfter.Sub(now), p.cert.NotAfter.Sub(p.cert.NotBefore)
	switch {
	case left <= 0:
		return "ended " + p.cert.NotAfter.Format(time.DateOnly)
	case left < all/3:
		return "ends " + p.cert.NotAfter.Format(time.DateOnly)
	case !p.cert.NotAfter.Equal(end):
		return "is valid for another time than in the lab"
	}
	return ""
}

// The kinds of PEM blocks.
const (
	keyBlock  = "PRIVATE KEY"
	certBlock = "CERTIFICATE"
)

// Key is the private key as PEM (PKCS #8).
func (p Pair) Key() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	return string(pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})), err
}

// Cert is the certificate as PEM.
func (p Pair) Cert() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: p.cert.Raw}))
}

// Encode is the pair as text: the edition in a line, then the key and the certificate as PEM.
func (p Pair) Encode() (string, error) {
	key, err := p.Key()
	return fmt.Sprintf("edition %d\n%s%s", p.Edition, key, p.Cert()), err
}

// Decode reads what Encode wrote. No error repeats anything of it.
func Decode(text string) (Pair, error) {
	var p Pair
	if _, err := fmt.Sscanf(text, "edition %d\n", &p.Edition); err != nil || p.Edition < 1 {
		return Pair{}, errors.New("it does not begin with its edition")
	}
	_, rest, _ := strings.Cut(text, "\n")
	key, more := pem.Decode([]byte(rest))
	if key == nil || key.Type != keyBlock {
		return Pair{}, errors.New("it has no private key")
	}
	cert, _ := pem.Decode(more)
	if cert == nil || cert.Type != certBlock {
		return Pair{}, errors.New("it has no certificate")
	}
	any, err := x509.ParsePKCS8PrivateKey(key.Bytes)
	ok := false
	if p.key, ok = any.(*ecdsa.PrivateKey); err != nil || !ok {
		return Pair{}, errors.New("its private key cannot be read")
	}
	if p.cert, err = x509.ParseCertificate(cert.Bytes); err != nil {
		return Pair{}, fmt.Errorf("its certificate cannot be read: %w", err)
	}
	if !p.key.PublicKey.Equal(p.cert.PublicKey) {
		return Pair{}, errors.New("its private key is not that of its certificate")
	}
	return p, nil
}
