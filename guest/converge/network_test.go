package converge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	staticLink = `[{"ifname":"ens3","address":"02:00:00:00:00:01","mtu":1500,"flags":["BROADCAST","UP","LOWER_UP"],"addr_info":[
		{"family":"inet","local":"%s","prefixlen":24,"scope":"global"%s},{"family":"inet6","local":"fe80::1","prefixlen":64,"scope":"link"}]}]`
	gatewayRoute = `[{"dst":"default","gateway":"10.0.0.1","dev":"ens3","protocol":"static"}]`
	ownFile      = "etc/systemd/network/05-labctl-lan.network"
)

func nic(change object) object {
	n := object{"name": "lan", "mac": "02:00:00:00:00:01", "addresses": []string{"10.0.0.5/24"},
		"routes": []object{{"to": "0.0.0.0/0", "via": "10.0.0.1", "network": "lan", "router": ""}},
		"dns":    []string{"10.0.0.1"}, "mtu": 1500, "dhcp": false, "use_routes": false, "use_dns": false, "default": true}
	for k, v := range change {
		n[k] = v
	}
	return n
}

func dhcp() object {
	return nic(object{"addresses": []string{}, "routes": []object{}, "dns": []string{}, "dhcp": true, "use_routes": true, "use_dns": true})
}

// lease is an interface whose address a router of the lab gives.
func lease(change object) object {
	n := object{"leased": []string{"10.0.0.5"}, "addresses": []string{}, "dhcp": true, "use_routes": true,
		"routes": []object{}, "learned": []object{{"to": "0.0.0.0/0", "via": "10.0.0.1"}}}
	for k, v := range change {
		n[k] = v
	}
	return nic(n)
}

func network(n object) object { return object{"network": []object{n}, "files": []object{}} }

func quiet(m *machine) {
	m.write("etc/resolv.conf", "nameserver 10.0.0.1\n")
	m.document(object{})
	m.write("addr.json", "[]")
	m.run()
	m.calls()
}

func TestNetworkInForce(t *testing.T) {
	for name, c := range map[string]struct {
		nic  object
		addr string
		want string // "" if it is in force
	}{
		"as cloud-init made it": {nic(nil), fmt.Sprintf(staticLink, "10.0.0.5", ""), ""},
		"other address":         {nic(nil), fmt.Sprintf(staticLink, "10.0.0.6", ""), "network lan: address 10.0.0.5/24 is missing"},
		"by DHCP instead":       {nic(object{"addresses": []string{}}), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), "network lan: has an address by DHCP"},
		"DHCP":                  {dhcp(), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), ""},
		"MTU":                   {nic(object{"mtu": 9000}), fmt.Sprintf(staticLink, "10.0.0.5", ""), "network lan: MTU is 1500, not 9000"},
		"route":                 {nic(object{"routes": []object{{"to": "0.0.0.0/0", "via": "10.0.0.9"}}}), fmt.Sprintf(staticLink, "10.0.0.5", ""), "network lan: default route is missing"},
		"learned route":         {lease(nil), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), ""},
		"other lease":           {lease(nil), fmt.Sprintf(staticLink, "10.0.0.77", `,"dynamic":true`), "network lan: has 10.0.0.77 by DHCP, not 10.0.0.5"},
		"no lease":              {lease(nil), `[{"ifname":"ens3","address":"02:00:00:00:00:01","mtu":1500,"flags":["UP"]}]`, "network lan: has no address by DHCP"},
		"no IPv6":               {lease(object{"leased": []string{"10.0.0.5", "fd00::5"}}), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), "network lan: no router gave it the address fd00::5"},
		"specific route":        {lease(object{"learned": []object{{"to": "10.9.0.0/24", "via": "10.0.0.9"}}}), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), "network lan: route to 10.9.0.0/24 is missing"},
		"advertised":            {lease(object{"learned": []object{{"to": "::/0", "via": "fd00::1"}}}), fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), ""},
		"no cable":              {nic(nil), `[{"ifname":"ens3","address":"02:00:00:00:00:01","flags":["NO-CARRIER","UP"]}]`, ""},
		"no such interface":     {nic(object{"mac": "02:00:00:00:00:99"}), "[]", "FAILED network lan: no interface has the address 02:00:00:00:00:99"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			quiet(m)
			m.document(network(c.nic))
			m.write("addr.json", c.addr)
			m.write("route.json", gatewayRoute)
			_, r := m.run("--check")
			if got := strings.Join(items(r), "; "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestNetworkChanges(t *testing.T) {
	m := newMachine(t)
	quiet(m)
	m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.5", ""))
	m.write("route.json", gatewayRoute)
	m.document(network(nic(nil)))
	m.want(nil, 0)
	if m.exists(ownFile) || m.calls() != "" {
		t.Fatal("what was in force was configured again")
	}
	m.write("addr.next", fmt.Sprintf(staticLink, "10.0.0.7", ""))
	m.document(network(nic(object{"addresses": []string{"10.0.0.7/24"}})))
	m.want(nil, 0, "network lan: configuration changed")
	if got := m.calls(); got != "networkctl reload" { // which begins anew with it: once more would be once too often
		t.Errorf("calls: %s", got)
	}
	for _, line := range []string{"MACAddress=02:00:00:00:00:01", "Address=10.0.0.7/24", "Gateway=10.0.0.1", "DNS=10.0.0.1", "MTUBytes=1500"} {
		if !strings.Contains(m.read(ownFile), "\n"+line+"\n") {
			t.Errorf("%s is not in\n%s", line, m.read(ownFile))
		}
	}
	m.want([]string{"--check"}, 0)
	m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.99", "")) // by hand
	m.calls()
	m.write("stuck", "") // what networkd does at times
	m.want(nil, 0, "network lan: address 10.0.0.7/24 is missing")
	if got := m.calls(); got != "networkctl reconfigure ens3\nsystemctl restart systemd-networkd" {
		t.Errorf("calls: %s", got)
	}
	m.document(network(nic(object{"addresses": []string{"10.0.0.7/24"}, "learned": []object{{"to": "0.0.0.0/0", "via": "10.0.0.1"}}})))
	m.want(nil, 0)
	if got := m.calls(); got != "" {
		t.Errorf("what networkd is not told of has it begin anew: %s", got)
	}
	m.document(object{})
	m.want(nil, 0, "network: no longer in the lab: 05-labctl-lan.network")
	if m.exists(ownFile) {
		t.Error("the file of the removed interface is still there")
	}
}

// TestNetworkLeaseNotGiven: that nobody answers is nobody's fault, that networkd keeps an address to itself is networkd's.
func TestNetworkLeaseNotGiven(t *testing.T) {
	t.Parallel()
	const none = `[{"ifindex":2,"ifname":"ens3","address":"02:00:00:00:00:01","mtu":1500,"flags":["UP"]}]`
	m := newMachine(t)
	quiet(m)
	m.write("addr.json", none)
	m.write("addr.next", fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`))
	m.write(ownFile, "another")
	m.document(network(dhcp()))
	m.run()
	m.calls()
	m.write("addr.json", none)
	m.want([]string{"--check"}, 0)
	m.write("run/systemd/netif/leases/2", "ADDRESS=10.0.0.5\n")
	m.want(nil, 0, "network lan: networkd has got an address by DHCP and not given it to the interface")
	if got := m.calls(); got != "systemctl restart systemd-networkd" {
		t.Errorf("calls: %s", got)
	}
	m.want([]string{"--check"}, 0)
}

// TestNetworkFile is what networkd is told of each way to come to an address.
func TestNetworkFile(t *testing.T) {
	for name, c := range map[string]struct {
		nic  object
		want string // after the part that all have
	}{
		"static": {nic(object{"routes": []object{{"to": "10.9.0.0/24", "via": "10.0.0.9"}, {"to": "::/0", "via": "fd00::1"}}}),
			"DHCP=no\nIPv6PrivacyExtensions=no\nIPv6AcceptRA=no\nAddress=10.0.0.5/24\nDNS=10.0.0.1\n[Route]\nDestination=10.9.0.0/24\nGateway=10.0.0.9\n[Route]\nDestination=::/0\nGateway=fd00::1\n"},
		"DHCP": {lease(object{"ra": object{"address": false, "gateway": true, "dhcp": true}}),
			"DHCP=yes\nIPv6PrivacyExtensions=no\nIPv6AcceptRA=yes\nDNS=10.0.0.1\n[DHCPv4]\nClientIdentifier=mac\nUseRoutes=yes\nUseDNS=no\nUseMTU=no\n" +
				"[DHCPv6]\nDUIDType=link-layer\nUseDNS=no\n[IPv6AcceptRA]\nToken=eui64\nUseAutonomousPrefix=no\nUseGateway=yes\nUseDNS=no\nDHCPv6Client=yes\n"},
		"SLAAC": {nic(object{"routes": []object{}, "ra": object{"address": true, "gateway": false, "dhcp": false}}),
			"DHCP=no\nIPv6PrivacyExtensions=no\nIPv6AcceptRA=yes\nAddress=10.0.0.5/24\nDNS=10.0.0.1\n" +
				"[IPv6AcceptRA]\nToken=eui64\nUseAutonomousPrefix=yes\nUseGateway=no\nUseDNS=no\nDHCPv6Client=no\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			quiet(m)
			m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.77", ""))
			m.write(ownFile, "another")
			m.document(network(c.nic))
			m.run()
			_, got, _ := strings.Cut(m.read(ownFile), "LinkLocalAddressing=ipv6\n")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResolver(t *testing.T) {
	m := newMachine(t)
	quiet(m)
	m.write("addr.json", fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`))
	m.write("run/systemd/netif/state", "OPER_STATE=routable\nDNS=10.0.2.3\n")
	m.document(network(dhcp()))
	m.want(nil, 0, "resolver: /etc/resolv.conf")
	if got := m.read("etc/resolv.conf"); got != "# written by labctl\nnameserver 10.0.2.3\n" {
		t.Error(got)
	}
}

// TestComputeEngine finds interfaces by the MACs that Compute Engine makes of addresses, and nowhere else.
func TestComputeEngine(t *testing.T) {
	link := strings.ReplaceAll(fmt.Sprintf(staticLink, "10.0.0.5", ""), "02:00:00:00:00:01", "42:01:0a:00:00:05")
	leased := strings.ReplaceAll(fmt.Sprintf(staticLink, "10.0.0.5", `,"dynamic":true`), "02:00:00:00:00:01", "42:01:0a:00:00:05")
	for name, c := range map[string]struct {
		product, addr string
		nic           object
		want          string
	}{
		"there":              {"Google Compute Engine\n", link, nic(nil), ""},
		"elsewhere":          {"KVM\n", link, nic(nil), "FAILED network lan: no interface has the address 02:00:00:00:00:01"},
		"the only one left":  {"Google Compute Engine\n", leased, dhcp(), ""},
		"of another address": {"Google Compute Engine\n", `[{"ifname":"ens3","address":"02:00:00:00:00:77","flags":["UP"]}]`, nic(nil), "FAILED network lan: no interface has the address 02:00:00:00:00:01"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			quiet(m)
			m.write("sys/class/dmi/id/product_name", c.product)
			m.document(network(c.nic))
			m.write("addr.json", c.addr)
			m.write("route.json", gatewayRoute)
			_, r := m.run("--check")
			if got := strings.Join(items(r), "; "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
