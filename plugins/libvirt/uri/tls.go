package uri

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/provider"
)

// pki is where the certificates are, found as libvirt does (https://libvirt.org/kbase/tlscerts.html): pkipath if it is
// given, else an ordinary user's own folder if it has any of them, else the system's.
type pki struct{ ca, cert, key string }

func (u URI) pki() pki {
	in := func(dir string) pki {
		return pki{filepath.Join(dir, "cacert.pem"), filepath.Join(dir, "clientcert.pem"), filepath.Join(dir, "clientkey.pem")}
	}
	if dir := u.params.Get("pkipath"); dir != "" {
		return in(dir)
	}
	if home, err := os.UserHomeDir(); err == nil && os.Geteuid() != 0 {
		own := in(filepath.Join(home, ".pki", "libvirt"))
		for _, path := range []string{own.ca, own.cert, own.key} {
			if _, err := os.Stat(path); err == nil {
				return own
			}
		}
	}
	return pki{"/etc/pki/CA/cacert.pem", "/etc/pki/libvirt/clientcert.pem", "/etc/pki/libvirt/private/clientkey.pem"}
}

// config checks the server by our CA and its name, and shows our certificate if we have one.
func (u URI) config() (*tls.Config, error) {
	p, c := u.pki(), &tls.Config{ServerName: u.Host, InsecureSkipVerify: u.params.Get("no_verify") == "1"}
	bad := func(format string, args ...any) (*tls.Config, error) {
		return nil, &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf(format, args...)}
	}
	ca, err := os.ReadFile(p.ca)
	switch {
	case err == nil:
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return bad("%s has no certificate of an authority", p.ca)
		}
	case !c.InsecureSkipVerify:
		return bad("the certificate of the authority that vouches for %s is needed: %v", u.Host, err)
	}
	pair, err := tls.LoadX509KeyPair(p.cert, p.key)
	switch {
	case err == nil:
		c.Certificates = []tls.Certificate{pair}
	case !errors.Is(err, fs.ErrNotExist): // libvirtd may do without ours
		return bad("cannot use %s with %s: %v", p.cert, p.key, err)
	}
	return c, nil
}

func (u URI) dialTLS(ctx context.Context) (net.Conn, error) {
	config, err := u.config()
	if err != nil {
		return nil, err
	}
	address := u.address("16514")
	plain, err := dialTCP(ctx, address)
	if err != nil {
		return nil, err
	}
	c := tls.Client(plain, config)
	stop := context.AfterFunc(ctx, func() { plain.Close() })
	defer stop()
	if err := c.HandshakeContext(ctx); err != nil {
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, u.distrust(err)
	}
	// libvirtd says with one byte that it takes our certificate and address, or closes the connection.
	var ok [1]byte
	if _, err := c.Read(ok[:]); err != nil || ok[0] != 1 {
		c.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		why := "its libvirtd closed the connection"
		if err != nil && err != io.EOF {
			why = err.Error()
		}
		if len(config.Certificates) == 0 {
			why += "; there is no certificate to show it: " + u.pki().cert
		}
		return nil, &provider.Error{Code: provider.Denied, Text: fmt.Sprintf("%s does not take our certificate: %s", address, why)}
	}
	return c, nil
}

// distrust says why a server is not trusted, or we not by it.
func (u URI) distrust(err error) error {
	var name x509.HostnameError
	var authority x509.UnknownAuthorityError
	var expired x509.CertificateInvalidError
	var alert tls.AlertError
	var op *net.OpError
	code, text := provider.Unavailable, err.Error()
	switch {
	case errors.As(err, &name):
		code, text = provider.Denied, fmt.Sprintf("its certificate is for another name: %v", err)
	case errors.As(err, &authority):
		code, text = provider.Denied, fmt.Sprintf("its certificate is not vouched for by %s: %v", u.pki().ca, err)
	case errors.As(err, &expired):
		code, text = provider.Denied, err.Error()
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		code, text = provider.Denied, fmt.Sprintf("it does not take our certificate: %v", err)
	}
	return &provider.Error{Code: code, Text: fmt.Sprintf("no TLS with %s: %s", u.address("16514"), text)}
}
