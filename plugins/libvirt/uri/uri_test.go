package uri_test

import (
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/plugins/libvirt/uri"
	"github.com/labctl-dev/labctl/provider"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text                                       string
		transport, user, host, port, path, servers string
		local, session                             bool
	}{
		{"qemu:///system", "unix", "", "", "", "/system", "qemu:///system", true, false},
		{"qemu:///session", "unix", "", "", "", "/session", "qemu:///session", true, true},
		{"qemu+unix:///system?socket=/run/x/sock&mode=legacy", "unix", "", "", "", "/system", "qemu:///system", true, false},
		{"test:///default", "unix", "", "", "", "/default", "test:///default", true, false},
		{"qemu+ssh://cuda/system", "ssh", "", "cuda", "", "/system", "qemu:///system", false, false},
		{"qemu+ssh://me@cuda:2222/session?keyfile=/k&command=/usr/bin/ssh", "ssh", "me", "cuda", "2222", "/session", "qemu:///session", false, true},
		{"qemu+ssh://[fe80::1]/system?no_verify=1&no_tty=1", "ssh", "", "fe80::1", "", "/system", "qemu:///system", false, false},
		{"qemu://cuda/system?pkipath=/pki", "tls", "", "cuda", "", "/system", "qemu:///system", false, false},
		{"qemu+tls://cuda:1/system", "tls", "", "cuda", "1", "/system", "qemu:///system", false, false},
		{"qemu+tcp://cuda/system?name=qemu:///embed", "tcp", "", "cuda", "", "/system", "qemu:///embed", false, false},
	} {
		u, err := uri.Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if u.Transport != c.transport || u.User != c.user || u.Host != c.host || u.Port != c.port || u.Path != c.path ||
			u.Server() != c.servers || u.Local() != c.local || u.Session() != c.session {
			t.Errorf("%s is %+v, opens %s", c.text, u, u.Server())
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		code provider.Code
		says string
	}{
		{"", provider.Invalid, "no URI such as"},
		{"/run/libvirt", provider.Invalid, "no URI such as"},
		{"qemu+ssh://cuda:port/system", provider.Invalid, "no URI such as"},
		{"xen:///system", provider.Unsupported, "not xen"},
		{"qemu+libssh2://cuda/system", provider.Unsupported, "use qemu+ssh"},
		{"qemu+ext:///system", provider.Unsupported, "not ext"},
		{"qemu+ssh://me:secret@cuda/system", provider.Invalid, "a password has no place"},
		{"qemu+unix://cuda/system", provider.Invalid, "use qemu+ssh://cuda/system"},
		{"qemu+ssh:///system", provider.Invalid, "names no host"},
		{"qemu+tcp://me@cuda/system", provider.Invalid, "a user is for ssh only"},
		{"qemu+ssh://-oProxyCommand=evil/system", provider.Invalid, "begins with \"-\""},
		{"qemu:///sytem", provider.Invalid, "its path is \"/sytem\""},
		{"qemu+ssh://cuda", provider.Invalid, "its path is \"\""},
		{"test://", provider.Invalid, "no path such as"},
		{"qemu+ssh://cuda/system?pkipath=/x", provider.Invalid, "ssh has no parameter \"pkipath\""},
		{"qemu+ssh://cuda/system?netcat=a&netcat=b", provider.Invalid, "given twice"},
		{"qemu+ssh://cuda/system?proxy=socks", provider.Invalid, "proxy is auto"},
		{"qemu:///system?mode=both", provider.Invalid, "mode is auto"},
		{"qemu+tls://cuda/system?no_verify=yes", provider.Invalid, "no_verify is 0 or 1"},
	} {
		_, err := uri.Parse(c.text)
		if provider.CodeOf(err) != c.code || err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %s: %v, want %s: %s", c.text, provider.CodeOf(err), err, c.code, c.says)
		}
	}
}
