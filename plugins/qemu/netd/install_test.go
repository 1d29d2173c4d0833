package netd

import (
	"bufio"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// TestInstalls is told whom to install while the network is in use, asked as a machine would, and tells what it heard.
func TestInstalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := netip.MustParseAddr
	g := Network{Name: "lan", CIDR: office, Leases: []Lease{{MAC: "02:00:00:00:03:61", Addr: a("10.20.0.10"), Name: "web"}}}
	w.set(g)
	web := w.guest("lan", "a", "10.20.0.10")
	mac := web.mac.String()
	ipxe := dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionUserClassInformation, []byte("iPXE")))
	if offer := web.exchange(dhcpv4.MessageTypeDiscover, ipxe); offer == nil || offer.BootFileNameOption() != "" {
		t.Fatalf("a network that installs nobody offers %v", offer)
	}
	if c, err := web.dialTCP(netip.MustParseAddrPort("10.20.0.254:80")); err == nil {
		c.Close()
		t.Fatal("a network that installs nobody listens for those who ask")
	}

	g.Netboot = &Netboot{Targets: []Target{{MAC: mac, Machine: "web", Arch: "amd64", Image: "one"}}}
	w.set(g)
	boot := filepath.Join(w.Netboot(), "boot", "amd64")
	if err := os.MkdirAll(boot, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(boot, "cmdline"), []byte("quiet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if offer := web.exchange(dhcpv4.MessageTypeDiscover); offer == nil || offer.BootFileNameOption() != "" {
		t.Errorf("who is not iPXE is offered %v", offer)
	}
	if offer := web.exchange(dhcpv4.MessageTypeDiscover, ipxe); offer == nil || offer.BootFileNameOption() != "http://10.20.0.254/boot.ipxe" {
		t.Errorf("iPXE is offered %v", offer)
	}
	if got := web.ask("GET", "/boot/"+mac+".ipxe", ""); !strings.Contains(got, "labctl.install=http://10.20.0.254/target/"+mac+" ") {
		t.Errorf("the machine is given %q", got)
	}
	if err := w.Shell(t.Context(), ShellRequest{Network: "lan", Machine: "web"}); err != nil {
		t.Error(err)
	}
	if got := web.ask("GET", "/boot/"+mac+".ipxe", ""); !strings.Contains(got, " labctl.shell=") {
		t.Errorf("the machine is given %q instead of a shell", got)
	}
	if err := w.Shell(t.Context(), ShellRequest{Network: "lan", Machine: "db"}); CodeOf(err) != Invalid {
		t.Errorf("a shell for who is not installed: %v", err)
	}
	web.ask("POST", "/target/"+mac+"/report", `{"phase":"write","number":4,"of":7,"percent":61}`)
	heard := w.network("lan").Installs
	if len(heard) != 1 || heard[0].Machine != "web" || heard[0].Percent != 61 {
		t.Errorf("heard %+v", heard)
	}

	// A network whose address changes goes on at the other, and knows what was said.
	g.Uplink = true
	w.set(g)
	if got := web.ask("GET", "/boot.ipxe", ""); !strings.Contains(got, "chain") {
		t.Errorf("at the other address it gives %q", got)
	}
	if heard := w.network("lan").Installs; len(heard) != 1 {
		t.Errorf("heard %+v", heard)
	}
	g.Netboot = nil
	w.set(g)
	if heard := w.network("lan").Installs; len(heard) != 0 {
		t.Errorf("a network that installs nobody has heard %+v", heard)
	}
}

// ask makes a request of whoever gives installations, and returns the answer's body, as far as it is one short line or
// several.
func (g *guest) ask(method, path, body string) string {
	g.Helper()
	to := netip.MustParseAddrPort("10.20.0.254:80")
	c, err := g.dialTCP(to)
	if err != nil {
		to = netip.MustParseAddrPort("10.20.0.1:80")
		if c, err = g.dialTCP(to); err != nil {
			g.Fatal(err)
		}
	}
	defer c.Close()
	r, err := http.NewRequestWithContext(g.Context(), method, "http://"+to.Addr().String()+path, strings.NewReader(body))
	if err != nil {
		g.Fatal(err)
	}
	if err := r.Write(c); err != nil {
		g.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), r)
	if err != nil {
		g.Fatal(err)
	}
	defer resp.Body.Close()
	var text strings.Builder
	if _, err := bufio.NewReader(resp.Body).WriteTo(&text); err != nil {
		g.Fatal(err)
	}
	return text.String()
}
