// Package uri understands libvirt's URIs and goes where they lead: to a socket found as libvirt's own tools find it,
// through the user's ssh, by TLS with libvirt's certificates, or by TCP. It also reaches what only the host at the
// other end reaches: its machines. Each error is one sentence that says what to do.
//
// It must not know what is said over a connection.
package uri

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// URI is one of libvirt's (https://libvirt.org/uri.html), taken apart:
// driver[+transport]://[user@][host][:port]/path[?parameters].
type URI struct {
	Text      string // as given
	Driver    string // "qemu" or "test"
	Transport string // "unix", "ssh", "tls" or "tcp"
	User      string // for ssh; "" leaves it to the user's config
	Host      string // "" for unix
	Port      string // "" for the transport's own
	Path      string // "/system", "/session", "/default"
	params    url.Values
}

// parameters are the ones each transport knows, after libvirt's.
func parameters(transport string) []string {
	switch transport {
	case "unix":
		return []string{"socket", "mode"}
	case "ssh":
		return []string{"socket", "mode", "keyfile", "command", "netcat", "proxy", "no_verify", "no_tty"}
	case "tls":
		return []string{"pkipath", "no_verify", "no_sanity"}
	}
	return nil
}

// Parse reads a URI. Errors have code Invalid or, for what libvirt knows and we do not, Unsupported.
func Parse(text string) (URI, error) {
	password := regexp.MustCompile(`(//[^/@:]*):[^/]*@`)
	bad := func(code provider.Code, format string, args ...any) (URI, error) {
		return URI{}, &provider.Error{Code: code, Text: fmt.Sprintf("uri %q: ", password.ReplaceAllString(text, "$1:...@")) + fmt.Sprintf(format, args...)}
	}
	p, err := url.Parse(text)
	if err != nil {
		return bad(provider.Invalid, "it is no URI such as \"qemu:///system\" or \"qemu+ssh://user@host/system\"")
	}
	u := URI{Text: text, User: p.User.Username(), Host: p.Hostname(), Port: p.Port(), Path: p.Path, params: p.Query()}
	u.Driver, u.Transport, _ = strings.Cut(p.Scheme, "+")
	if u.Transport == "" {
		u.Transport = "unix"
		if u.Host != "" {
			u.Transport = "tls"
		}
	}
	_, secret := p.User.Password()
	switch {
	case u.Driver == "":
		return bad(provider.Invalid, "it is no URI such as \"qemu:///system\" or \"qemu+ssh://user@host/system\"")
	case u.Driver != "qemu" && u.Driver != "test":
		return bad(provider.Unsupported, "only the drivers qemu and test are known, not %s", u.Driver)
	case u.Transport == "libssh" || u.Transport == "libssh2":
		return bad(provider.Unsupported, "the transport is %s: use %s+ssh, which goes through your own ssh program", u.Transport, u.Driver)
	case !slices.Contains([]string{"unix", "ssh", "tls", "tcp"}, u.Transport):
		return bad(provider.Unsupported, "only the transports unix, ssh, tls and tcp are known, not %s", u.Transport)
	case secret:
		return bad(provider.Invalid, "a password has no place in it: use ssh keys or an agent")
	case u.Transport == "unix" && (u.Host != "" || u.User != ""):
		return bad(provider.Invalid, "a unix socket is on this host: for another one use %s+ssh://%s%s", u.Driver, p.Host, p.Path)
	case u.Transport != "unix" && u.Host == "":
		return bad(provider.Invalid, "it names no host")
	case u.Transport != "ssh" && u.User != "":
		return bad(provider.Invalid, "a user is for ssh only")
	case strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User, "-"):
		return bad(provider.Invalid, "neither host nor user begins with \"-\"")
	case u.Driver == "qemu" && u.Path != "/system" && u.Path != "/session":
		return bad(provider.Invalid, "its path is \"%s\", not \"/system\" or \"/session\"", u.Path)
	case u.Driver == "test" && u.Path == "":
		return bad(provider.Invalid, "it has no path such as \"/default\"")
	}
	return u, u.check()
}

// check is about the parameters.
func (u URI) check() error {
	known := parameters(u.Transport)
	for name, values := range u.params {
		why := ""
		switch {
		case name == "name" && len(values) == 1:
		case !slices.Contains(known, name):
			why = fmt.Sprintf("%s has no parameter %q; it has %s", u.Transport, name, strings.Join(append(known, "name"), ", "))
		case len(values) != 1:
			why = "parameter " + name + " is given twice"
		case name == "mode" && !slices.Contains([]string{"auto", "direct", "legacy"}, values[0]):
			why = "mode is auto, direct or legacy"
		case name == "proxy" && !slices.Contains([]string{"auto", "netcat", "native"}, values[0]):
			why = "proxy is auto, netcat or native"
		case strings.HasPrefix(name, "no_") && values[0] != "0" && values[0] != "1":
			why = name + " is 0 or 1"
		}
		if why != "" {
			return &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("uri %q: %s", u.Text, why)}
		}
	}
	return nil
}

// Local says that libvirt runs on this host, so that its files and networks are this host's.
func (u URI) Local() bool { return u.Transport == "unix" }

// Session says that libvirt runs with an ordinary user's rights.
func (u URI) Session() bool { return u.Driver == "qemu" && u.Path == "/session" }

func (u URI) String() string { return u.Text }

// Server is what libvirtd is asked to open once we are there: "qemu:///system".
func (u URI) Server() string {
	if name := u.params.Get("name"); name != "" {
		return name
	}
	return u.Driver + "://" + u.Path
}

// address is host and port.
func (u URI) address(port string) string {
	if u.Port != "" {
		port = u.Port
	}
	return net.JoinHostPort(u.Host, port)
}

// Dial opens a byte stream to libvirtd. ctx is only for the opening. Errors have codes; a stream through ssh may fail
// only when it is read, and then says why.
func (u URI) Dial(ctx context.Context) (net.Conn, error) {
	switch u.Transport {
	case "ssh":
		return u.dialSSH()
	case "tls":
		return u.dialTLS(ctx)
	case "tcp":
		return dialTCP(ctx, u.address("16509"))
	}
	return u.dialUnix(ctx)
}

// dialTCP opens a TCP connection whose errors have codes.
func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", address)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	if dns, ok := unknownHost(err); ok {
		return nil, &provider.Error{Code: provider.NotFound, Text: fmt.Sprintf("no such host: %s", dns)}
	}
	return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("nobody answers at %s: %v", address, err)}
}
