package certificate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/certificate"
)

var (
	now  = time.Date(2026, 9, 2, 12, 0, 0, 0, time.UTC)
	root = certificate.Wanted{Name: "demo root", Days: 3650}
	web  = certificate.Wanted{
		Names: []string{"*.apps.demo.lab", "web", "web.demo.lab"},
		Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.5"), netip.MustParseAddr("fd00::5")}, Days: 90,
	}
)

func made(t *testing.T) (ca, leaf certificate.Pair) {
	t.Helper()
	ca, err := certificate.NewAuthority(root, certificate.Pair{}, now)
	if err == nil {
		leaf, err = ca.Issue(web, 1, now)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ca, leaf
}

func day(n int) time.Time { return now.AddDate(0, 0, n) }

func TestStale(t *testing.T) {
	ca, leaf := made(t)
	other, err := certificate.NewAuthority(root, certificate.Pair{}, now)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := certificate.NewAuthority(root, ca, day(3000))
	if err != nil {
		t.Fatal(err)
	}
	if renewed.Edition != 2 {
		t.Errorf("edition %d, want 2", renewed.Edition)
	}
	names, addrs, days := web, web, web
	names.Names, addrs.Addrs, days.Days = web.Names[1:], web.Addrs[:1], 30
	for _, x := range []struct {
		what string
		of   certificate.Pair
		w    certificate.Wanted
		at   time.Time
		want string
	}{
		{"new", ca, web, now, ""},
		{"a third and more is left", ca, web, day(59), ""},
		{"less than a third is left", ca, web, day(61), "ends 2026-12-01"},
		{"over", ca, web, day(91), "ended 2026-12-01"},
		{"a name less", ca, names, now, "is for other names than in the lab"},
		{"an address less", ca, addrs, now, "is for other names than in the lab"},
		{"fewer days", ca, days, now, "is valid for another time than in the lab"},
		{"another authority of that name", other, web, now, "is not of the lab's authority as it is now"},
		{"the same authority, renewed", renewed, web, now, ""},
	} {
		if got := leaf.StaleOf(x.w, x.of, x.at); got != x.want {
			t.Errorf("%s: %q, want %q", x.what, got, x.want)
		}
	}
	for _, x := range []struct {
		w    certificate.Wanted
		at   time.Time
		want string
	}{
		{root, now, ""},
		{root, day(2400), ""},
		{root, day(2500), "ends 2036-08-30"},
		{certificate.Wanted{Name: "other root", Days: 3650}, now, "has another name in the lab"},
		{certificate.Wanted{Name: "demo root", Days: 365}, now, "is valid for another time than in the lab"},
	} {
		if got := ca.Stale(x.w, x.at); got != x.want {
			t.Errorf("%v at %s: %q, want %q", x.w, x.at, got, x.want)
		}
	}
}

// An authority that ends before what it issues: neither is made again and again.
func TestShortAuthority(t *testing.T) {
	ca, err := certificate.NewAuthority(certificate.Wanted{Name: "short", Days: 30}, certificate.Pair{}, now)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := ca.Issue(web, 1, day(5))
	if err != nil {
		t.Fatal(err)
	}
	if got := leaf.StaleOf(web, ca, day(5)); got != "" {
		t.Error(got)
	}
	if got := leaf.StaleOf(web, ca, day(29)); got != "ends 2026-10-02" {
		t.Error(got)
	}
}

func TestDecode(t *testing.T) {
	ca, leaf := made(t)
	text, err := leaf.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := certificate.Decode(text)
	if err != nil || again.Cert() != leaf.Cert() || again.Edition != 1 {
		t.Fatalf("edition %d: %v", again.Edition, err)
	}
	if got := again.StaleOf(web, ca, now); got != "" {
		t.Error(got)
	}
	other, err := ca.Encode()
	if err != nil {
		t.Fatal(err)
	}
	key, _, _ := strings.Cut(other, "-----BEGIN CERT")
	for bad, want := range map[string]string{
		"":                                 "it does not begin with its edition",
		"edition 0\n":                      "it does not begin with its edition",
		"edition 1\n":                      "it has no private key",
		text[:len(text)-200]:               "it has no certificate",
		key + leaf.Cert():                  "its private key is not that of its certificate",
		"edition 1\n" + leaf.Cert() + text: "it has no private key",
	} {
		if _, err := certificate.Decode(bad); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// What Go's own TLS says: the names and addresses are good, others are not, and the root is believed but the leaf issues
// nothing.
func TestTLS(t *testing.T) {
	ca, leaf := made(t)
	key, err := leaf.Key()
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair([]byte(leaf.Cert()+ca.Cert()), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(ca.Cert()))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{both}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: trusted,
		Time: func() time.Time { return day(1) }}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	s.StartTLS()
	defer s.Close()
	for name, good := range map[string]bool{"web": true, "web.demo.lab": true, "shop.apps.demo.lab": true, "10.0.0.5": true, "fd00::5": true, "db": false, "10.0.0.6": false} {
		c := http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: trusted, ServerName: name, Certificates: []tls.Certificate{both}, Time: func() time.Time { return day(1) }},
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "tcp", s.Listener.Addr().String())
			},
		}}
		r, err := c.Get("https://ignored/")
		if (err == nil) != good {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			r.Body.Close()
		}
		c.CloseIdleConnections()
	}
	block, _ := pem.Decode([]byte(ca.Cert()))
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !cert.IsCA || cert.MaxPathLen != 0 || !cert.MaxPathLenZero || cert.SerialNumber.BitLen() < 64 {
		t.Errorf("%v %+v", err, cert)
	}
}

// What OpenSSL says, which most services use.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ca, leaf := made(t)
	dir := t.TempDir()
	key, err := leaf.Key()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"root.pem": ca.Cert(), "web.pem": leaf.Cert(), "web.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := []string{"-attime", "1788436800"} // 2026-09-03
	for _, x := range []struct {
		args []string
		want string
	}{
		{append([]string{"verify", "-x509_strict", "-CAfile", "root.pem", "-purpose", "sslserver", "-verify_hostname", "web.demo.lab"}, append(at, "web.pem")...), `^web.pem: OK\n$`},
		{append([]string{"verify", "-x509_strict", "-CAfile", "root.pem", "-purpose", "sslclient", "-verify_ip", "10.0.0.5"}, append(at, "web.pem")...), `^web.pem: OK\n$`},
		{append([]string{"verify", "-CAfile", "root.pem", "-verify_hostname", "db.demo.lab"}, append(at, "web.pem")...), `(?i)hostname mismatch`},
		{[]string{"verify", "-CAfile", "root.pem", "-attime", "1798761600", "web.pem"}, `certificate has expired`},
		{[]string{"x509", "-in", "web.pem", "-noout", "-text"}, `Key Usage: critical\s+Digital Signature\n\s+X509v3 Extended Key Usage:\s+TLS Web Server Authentication, TLS Web Client Authentication\n\s+X509v3 Basic Constraints: critical\s+CA:FALSE`},
		{[]string{"x509", "-in", "root.pem", "-noout", "-text"}, `Key Usage: critical\s+Certificate Sign, CRL Sign\n[^C]*Constraints: critical\s+CA:TRUE, pathlen:0`},
		{[]string{"pkey", "-in", "web.key", "-noout", "-text"}, `NIST CURVE: P-256`},
	} {
		cmd := exec.Command("openssl", x.args...)
		cmd.Dir = dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		err := cmd.Run()
		if !regexp.MustCompile(x.want).MatchString(out.String()) {
			t.Errorf("openssl %s: %v\n%s\nwant %s", strings.Join(x.args, " "), err, out.String(), x.want)
		}
	}
}
