package probe_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/probe"
	"github.com/labctl-dev/labctl/guest/probe/spacetest"
	"github.com/labctl-dev/labctl/lab"
)

// wire is two machines on one network.
func wire() lab.Lab {
	l := lab.Lab{Name: "wire", Domain: "wire.lab", Networks: []lab.Network{
		{Name: "office", CIDR: netip.MustParsePrefix("10.9.0.0/24"), CIDR6: netip.MustParsePrefix("fd00:9::/64")},
	}}
	for i, name := range []string{"web", "desk"} {
		l.Machines = append(l.Machines, lab.Machine{Name: name, NICs: []lab.NIC{{Network: "office",
			Addr: netip.MustParseAddr(fmt.Sprintf("10.9.0.%d", 10+i)), Addr6: netip.MustParseAddr(fmt.Sprintf("fd00:9::%d", 10+i))}}})
	}
	return lab.Arrange(l)
}

// serve starts a program in a machine and waits until it says that it is up.
func serve(t *testing.T, s *spacetest.Spaces, machine string, args ...string) {
	t.Helper()
	cmd := s.Command(machine, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
}

const httpServer = `
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status, body = {"/": (200, "welcome"), "/old?x=1": (302, ""), "/big": (200, "x" * 100000 + "end")}.get(self.path, (404, "nothing\x00here"))
        self.send_response(status)
        if status == 302: self.send_header("Location", "/")
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *a): pass
class Server(http.server.ThreadingHTTPServer): address_family = socket.AF_INET6
s = Server(("::", 80), Handler)
print("up", flush=True)
s.serve_forever()
`

func TestChecks(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	serve(t, s, "web", "python3", "-c", httpServer)
	serve(t, s, "web", "python3", "-c", `import socket, time
s = socket.create_server(("10.9.0.10", 23)); print("up", flush=True); time.sleep(600)`)
	tcp := func(to string, port int, refused bool) lab.Check {
		return lab.Check{TCP: &lab.TCPCheck{To: to, Port: port, Refused: refused}}
	}
	http := func(url string, status int, body string) lab.Check {
		return lab.Check{HTTP: &lab.HTTPCheck{URL: url, Status: status, Body: body}}
	}
	command := func(run string, exit int, output string) lab.Check {
		return lab.Check{Command: &lab.CommandCheck{Run: run, Exit: exit, Output: output}}
	}
	for _, c := range []struct {
		name  string
		check lab.Check
		ok    bool
		got   string
	}{
		{"tcp", tcp("10.9.0.10", 80, false), true, "10.9.0.10 accepts connections"},
		{"tcp by IPv6", tcp("fd00:9::10", 80, false), true, "fd00:9::10 accepts connections"},
		{"tcp shut", tcp("10.9.0.10", 81, false), false, "10.9.0.10: connection refused"},
		{"tcp that must be shut", tcp("10.9.0.10", 81, true), true, "10.9.0.10: connection refused"},
		{"tcp that must be shut and is not", tcp("10.9.0.10", 80, true), false, "10.9.0.10 accepts connections"},
		{"tcp to nobody", tcp("10.9.0.99", 80, false), false, "10.9.0.99: no "},
		{"tcp to no name", tcp("nosuch.invalid", 80, false), false, "ame"}, // "Name or service not known" and its kin
		{"http", http("http://10.9.0.10/", 200, "welcome"), true, "status 200"},
		{"http by IPv6", http("http://[fd00:9::10]:80/", 200, "welcome"), true, "status 200"},
		{"http status", http("http://10.9.0.10/nosuch", 200, ""), false, `status 404, body "nothing\u0000here"`},
		{"http another status", http("http://10.9.0.10/nosuch", 404, "nothing"), true, "status 404"},
		{"http body", http("http://10.9.0.10/", 200, "farewell"), false, `status 200, but the body has not "farewell": "welcome"`},
		{"http long body", http("http://10.9.0.10/big", 200, "xend"), true, "status 200"},
		{"http redirects are not followed", http("http://10.9.0.10/old?x=1", 302, ""), true, "status 302 to /"},
		{"http to what is no server", http("http://10.9.0.10:81/", 200, ""), false, "refused"},
		{"https to what is none", http("https://10.9.0.10:80/", 200, ""), false, "SSL"},
		{"command", command("echo hello; exit 3", 3, "hello"), true, "exit status 3"},
		{"command status", command("echo no >&2; exit 3", 0, ""), false, `exit status 3, stderr "no"`},
		{"command output", command("echo hello", 0, "bye"), false, `exit status 0, output "hello\n"`},
		{"command by a signal", command("kill -9 $$", 137, ""), true, "exit status 137"},
		{"command that hangs", command("sleep 60", 0, ""), false, "it did not end in time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.check.Name, c.check.From, c.check.Within = c.name, "desk", lab.Duration(time.Second)
			checks(t, s, c.check, c.ok, c.got)
		})
	}
}

func checks(t *testing.T, s *spacetest.Spaces, c lab.Check, ok bool, got string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := probe.Check(ctx, s.Shell("desk"), c)
	if err != nil {
		t.Fatal(err)
	}
	if out.OK != ok || !strings.Contains(out.Got, got) || out.Tries < 1 {
		t.Errorf("got %+v, want %v, %q", out, ok, got)
	}
}

func TestDNSChecks(t *testing.T) {
	spacetest.Need(t)
	if _, err := exec.LookPath("dnsmasq"); err != nil {
		t.Skip("dnsmasq is not installed")
	}
	s := spacetest.Build(t, wire())
	long := strings.Repeat("abcdefghij", 20)
	serve(t, s, "web", "sh", "-c", `echo up; exec dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root \
--host-record=web.wire.lab,10.9.0.10,fd00:9::10 --host-record=web.wire.lab,10.9.0.12 --mx-host=wire.lab,mail.wire.lab,10 --txt-record=wire.lab,"v=spf1 -all" \
--srv-host=_sip._udp.wire.lab,web.wire.lab,5060,1,2 --cname=www.wire.lab,web.wire.lab --local=/wire.lab/ \
--txt-record=long.wire.lab,`+strings.Repeat(long+",", 12)+long)
	for _, c := range []struct {
		name  string
		check lab.DNSCheck
		ok    bool
		got   string
	}{
		{"a", lab.DNSCheck{Name: "web.wire.lab", Type: "A", Answer: []string{"10.9.0.12", "10.9.0.10"}}, true, `["10.9.0.10", "10.9.0.12"]`},
		{"one too few", lab.DNSCheck{Name: "web.wire.lab", Type: "A", Answer: []string{"10.9.0.10"}}, false, `["10.9.0.10", "10.9.0.12"]`},
		{"aaaa, written long", lab.DNSCheck{Name: "web.wire.lab", Type: "AAAA", Answer: []string{"fd00:9:0:0::0010"}}, true, `["fd00:9::10"]`},
		{"ptr", lab.DNSCheck{Name: "10.9.0.10", Type: "PTR", Answer: []string{"web.wire.lab"}}, true, `["web.wire.lab"]`},
		{"ptr of IPv6", lab.DNSCheck{Name: "fd00:9::10", Type: "PTR", Answer: []string{"Web.wire.lab."}}, true, `["web.wire.lab"]`},
		{"mx", lab.DNSCheck{Name: "wire.lab", Type: "MX", Answer: []string{"10 mail.wire.lab."}}, true, `["10 mail.wire.lab"]`},
		{"txt", lab.DNSCheck{Name: "wire.lab", Type: "TXT", Answer: []string{"v=spf1 -all"}}, true, `["v=spf1 -all"]`},
		{"srv", lab.DNSCheck{Name: "_sip._udp.wire.lab", Type: "SRV", Answer: []string{"1 2 5060 web.wire.lab"}}, true, `["1 2 5060 web.wire.lab"]`},
		{"cname", lab.DNSCheck{Name: "www.wire.lab", Type: "CNAME", Answer: []string{"web.wire.lab"}}, true, `["web.wire.lab"]`},
		{"a behind a cname", lab.DNSCheck{Name: "www.wire.lab", Type: "A", Answer: []string{"10.9.0.10", "10.9.0.12"}}, true, ""},
		{"no such name", lab.DNSCheck{Name: "nosuch.wire.lab", Type: "A"}, true, "no such name"},
		{"a name that should not be", lab.DNSCheck{Name: "web.wire.lab", Type: "A"}, false, `["10.9.0.10", "10.9.0.12"]`},
		{"a name that should be", lab.DNSCheck{Name: "nosuch.wire.lab", Type: "A", Answer: []string{"10.9.0.1"}}, false, "no such name"},
		{"more than a datagram", lab.DNSCheck{Name: "long.wire.lab", Type: "TXT", Answer: []string{strings.Repeat(long, 13)}}, true, "abcdefghij"},
		{"refused", lab.DNSCheck{Name: "example.com", Type: "A"}, false, "10.9.0.10: refused"},
		{"by IPv6", lab.DNSCheck{Name: "web.wire.lab", Type: "AAAA", Server: "fd00:9::10", Answer: []string{"fd00:9::10"}}, true, ""},
		{"nobody there", lab.DNSCheck{Name: "web.wire.lab", Type: "A", Server: "fd00:9::11", Answer: []string{"10.9.0.10"}}, false, "fd00:9::11: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.check.Server == "" {
				c.check.Server = "10.9.0.10"
			}
			checks(t, s, lab.Check{Name: c.name, From: "desk", DNS: &c.check, Within: lab.Duration(3 * time.Second)}, c.ok, c.got)
		})
	}
}

// TestWithin: what does not hold yet is asked again.
func TestWithin(t *testing.T) {
	spacetest.Need(t)
	s := spacetest.Build(t, wire())
	file := t.TempDir() + "/here"
	c := lab.Check{Name: "later", From: "desk", Within: lab.Duration(20 * time.Second), Command: &lab.CommandCheck{
		Run: `echo >> ` + file + `; test $(wc -l < ` + file + `) -ge 4`}}
	out, err := probe.Check(t.Context(), s.Shell("desk"), c)
	if err != nil || !out.OK || out.Tries != 4 {
		t.Errorf("%+v, %v; want the fourth try to hold", out, err)
	}
}
