package cloudinit

import "net/netip"

type networkConfig struct {
	Version   int                 `json:"version"`
	Ethernets map[string]ethernet `json:"ethernets"`
}

// ethernet is an entry of network-config version 2, in the part of it that netplan and cloud-init's own renderers for
// networkd, ifupdown and NetworkManager understand alike.
// https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html
type ethernet struct {
	Match       map[string]string       `json:"match"`
	SetName     string                  `json:"set-name,omitempty"`
	DHCP4       bool                    `json:"dhcp4"`
	DHCP6       bool                    `json:"dhcp6"`
	Overrides   map[string]bool         `json:"dhcp4-overrides,omitempty"`
	Identifier  string                  `json:"dhcp-identifier,omitempty"`
	AcceptRA    *bool                   `json:"accept-ra,omitempty"`
	LinkLocal   []string                `json:"link-local"`
	Addresses   []string                `json:"addresses,omitempty"`
	Routes      []route                 `json:"routes,omitempty"`
	Nameservers map[string][]netip.Addr `json:"nameservers,omitempty"`
	MTU         int                     `json:"mtu,omitempty"`
	Optional    bool                    `json:"optional"`
}

type route struct {
	To  string     `json:"to"`
	Via netip.Addr `json:"via"`
}

// NetworkConfig is the network-config document. Interfaces are matched by MAC. Each has an IPv6 link-local
// address, which is labctl's way in while other addresses change.
func NetworkConfig(interfaces []Interface) ([]byte, error) {
	c := networkConfig{Version: 2, Ethernets: map[string]ethernet{}}
	waits := waited(interfaces)
	for n, i := range interfaces {
		no := false
		e := ethernet{
			Match:     map[string]string{"macaddress": i.MAC},
			SetName:   i.Device,
			DHCP4:     i.DHCP,
			LinkLocal: []string{"ipv6"},
			MTU:       i.MTU,
			Optional:  n != waits,
		}
		if i.DHCP {
			e.Identifier = "mac" // leases are kept by MAC, and copies of one disk share their machine-id
		}
		if !i.RA {
			e.AcceptRA = &no // else systemd before 254 counts the interface as unready for 12 seconds
		}
		if i.DHCP && !(i.UseRoutes && i.UseDNS) {
			e.Overrides = map[string]bool{"use-routes": i.UseRoutes, "use-dns": i.UseDNS}
		}
		for _, a := range i.Addresses {
			e.Addresses = append(e.Addresses, a.String())
		}
		for _, r := range i.Routes { // "default" is not understood by netplan before 0.103
			e.Routes = append(e.Routes, route{r.To.String(), r.Via})
		}
		if len(i.DNS) > 0 {
			e.Nameservers = map[string][]netip.Addr{"addresses": i.DNS}
		}
		c.Ethernets[i.Name] = e
	}
	return document("", c)
}

// waited is the index of the one interface that the boot waits for: that with the default route, else the first. A
// boot that waited for all would hang for two minutes on a network without DHCP or with its cable out; one that waits
// for none is treated as offline by some versions of systemd.
func waited(interfaces []Interface) int {
	for n, i := range interfaces {
		if i.Default {
			return n
		}
	}
	return 0
}
