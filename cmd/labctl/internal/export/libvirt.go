package export

import (
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// The pools of a lab that names none.
const (
	imagePool = "images"
	diskPool  = "disks"
)

// host is a name on the libvirt host.
func (t *terraform) host(names ...string) string {
	return t.Lab.Name + "-" + strings.Join(names, "--")
}

func (t *terraform) pools() {
	paths := map[string]string{imagePool: "", diskPool: ""}
	for _, p := range t.Lab.Pools {
		paths[p.Name] = p.Path
		if p.Size > 0 {
			t.note("pool %s: its size (%s) is no limit to Terraform", p.Name, p.Size)
		}
	}
	for name, where := range paths {
		if where = literal(where); where == "" {
			where = "${var.pool_path}/" + name
		} else {
			where = path.Clean(where)
		}
		t.resource("libvirt_pool", name, block{"name": t.host(name), "type": "dir", "target": []block{{"path": where}}})
	}
}

func pool(name string) string {
	return "${libvirt_pool." + id(or(name, diskPool)) + ".name}"
}

// image is the volume that root disks are made from. What is built here, or packed, has no URL that libvirt can read.
func (t *terraform) image(i lab.Image) {
	name, input := "image_"+i.Name, variable("image", i.Name)
	what := "Image " + i.Name + ": a file (qcow2) or its URL; labctl image pull " + i.Name + " gets one and says where it is."
	if i.URL != "" && strings.HasSuffix(i.URL, ".qcow2") {
		t.variable(input, what, i.URL)
		t.note("image %s: Terraform does not check its digest, %s", i.Name, i.Digest)
	} else {
		t.required(input, what)
	}
	t.resource("libvirt_volume", name, block{"name": t.host("image", i.Name) + ".qcow2", "pool": pool(imagePool), "source": "${var." + input + "}", "format": "qcow2"})
}

// network is one of libvirt's own. Where the lab has its own routers the host stays out of it: the provider gives it
// the first address, which is the router's.
func (t *terraform) network(n lab.Network) {
	if n.Adopted != "" {
		return
	}
	b := block{"name": t.host(n.Name), "autostart": true}
	if n.MTU != 0 && n.MTU != 1500 {
		b["mtu"] = n.MTU
	}
	switch bridge := t.Options.Bridges[n.Name]; {
	case bridge != "":
		b["mode"], b["bridge"] = "bridge", literal(bridge)
	case n.Uplink:
		b["mode"] = "nat"
		if n.Routed {
			b["mode"] = "route"
		}
		b["addresses"] = t.prefixes(n)
		b["dhcp"] = []block{{"enabled": true}}
		b["dns"] = []block{{"enabled": true}}
		b["domain"] = t.Lab.Domain
	default:
		b["mode"] = "none"
		b["dhcp"] = []block{{"enabled": false}}
		if n.DHCP != nil && !t.served(n.Name) {
			t.note("network %s: nobody serves its dhcp range; the provider would put the host on the network's first address", n.Name)
		}
	}
	t.resource("libvirt_network", n.Name, b)
}

// served says whether a router of the lab gives a network's addresses.
func (t *terraform) served(network string) bool {
	return slices.ContainsFunc(t.Lab.Machines, func(m lab.Machine) bool { return m.Routing != nil && slices.Contains(m.Routing.DHCP, network) })
}

// prefixes are an uplink's. One that the lab leaves to the target is a variable.
func (t *terraform) prefixes(n lab.Network) []string {
	if !n.CIDR.IsValid() {
		h := sha256.Sum256([]byte(t.Lab.Name + "\x00" + n.Name))
		name := variable("cidr", n.Name)
		t.variable(name, "Addresses of the uplink "+n.Name+", a network that the host does not have yet.",
			or(t.Options.UplinkCIDR, fmt.Sprintf("10.%d.%d.0/24", 128+h[0]%127, h[1])))
		return []string{"${var." + name + "}"}
	}
	all := []string{n.CIDR.String()}
	if n.CIDR6.IsValid() {
		all = append(all, n.CIDR6.String())
	}
	return all
}
