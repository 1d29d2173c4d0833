package uri_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
)

// authority is a certificate authority made for a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, next: 1}
	a.cert, a.key = a.sign(x509.Certificate{Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate and its key, which the authority vouches for, or itself if there is none yet.
func (a *authority) sign(c x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.next++
	c.SerialNumber = big.NewInt(a.next)
	c.NotBefore = time.Now().Add(-time.Hour)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = &c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, &c, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) server(until time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	return a.sign(x509.Certificate{Subject: pkix.Name{CommonName: "host"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
}

func (a *authority) client(name string) (*x509.Certificate, *ecdsa.PrivateKey) {
	return a.sign(x509.Certificate{Subject: pkix.Name{CommonName: name},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func writePair(t *testing.T, dir, name string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+"cert.pem"), "CERTIFICATE", cert.Raw)
	writePEM(t, filepath.Join(dir, name+"key.pem"), "EC PRIVATE KEY", der)
}

// TestTLS has certificates in /etc/libvirt for libvirtd, and folders of clients whom it trusts or not.
func TestTLS(t *testing.T) {
	conf := "listen_tls = 1\nlisten_tcp = 0\nlisten_addr = \"127.0.0.1\"\ntls_allowed_dn_list = [\"CN=friend*\"]\n" +
		"ca_file = \"/etc/libvirt/cacert.pem\"\ncert_file = \"/etc/libvirt/servercert.pem\"\nkey_file = \"/etc/libvirt/serverkey.pem\"\n"
	good, bad := newAuthority(t), newAuthority(t)
	c := libvirttest.Config{Args: []string{"--listen"}, Conf: conf, Prepare: func(etc string) error {
		writePEM(t, filepath.Join(etc, "cacert.pem"), "CERTIFICATE", good.cert.Raw)
		cert, key := good.server(time.Now().Add(time.Hour))
		writePair(t, etc, "server", cert, key)
		for _, client := range []struct {
			name, cn  string
			ca, signs *authority
		}{{"friend", "friend 1", good, good}, {"stranger", "stranger", good, good}, {"forger", "friend 2", good, bad}, {"suspicious", "friend 3", bad, good}, {"bare", "", good, nil}} {
			dir := filepath.Join(etc, client.name)
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			writePEM(t, filepath.Join(dir, "cacert.pem"), "CERTIFICATE", client.ca.cert.Raw)
			if client.signs != nil {
				cert, key := client.signs.client(client.cn)
				writePair(t, dir, "client", cert, key)
			}
		}
		return os.Mkdir(filepath.Join(etc, "empty"), 0o755)
	}}
	libvirttest.Inside(t, c, func(t *testing.T, d *libvirttest.Daemon) {
		at := func(host, who string) string { return "qemu+tls://" + host + "/system?pkipath=/etc/libvirt/" + who }
		try(t, []attempt{
			{"friend", at("127.0.0.1", "friend"), "", ""},
			{"port", at("127.0.0.1:16514", "friend"), "", ""},
			{"no transport given", "qemu://127.0.0.1/system?pkipath=/etc/libvirt/friend", "", ""},
			{"stranger", at("127.0.0.1", "stranger"), provider.Denied, "does not take our certificate"},
			{"forger", at("127.0.0.1", "forger"), provider.Denied, "does not take our certificate"},
			{"bare", at("127.0.0.1", "bare"), provider.Denied, "there is no certificate to show it"},
			{"suspicious", at("127.0.0.1", "suspicious"), provider.Denied, "is not vouched for by /etc/libvirt/suspicious/cacert.pem"},
			{"suspicious but told not to look", at("127.0.0.1", "suspicious") + "&no_verify=1", "", ""},
			{"another name", at("localhost", "friend"), provider.Denied, "its certificate is for another name"},
			{"empty", at("127.0.0.1", "empty"), provider.NotFound, "/etc/libvirt/empty/cacert.pem"},
			{"the system's own place", "qemu+tls://127.0.0.1/system", provider.NotFound, "/etc/pki/CA/cacert.pem"},
			{"refused", at("127.0.0.1:9", "friend"), provider.Unavailable, "nobody answers at 127.0.0.1:9"},
		})
	})
}
