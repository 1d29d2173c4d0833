package libvirt

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Free space in a pool, in bytes: below the first nothing works for long, below the second not much.
const (
	noSpace     = 1 * lab.GiB
	littleSpace = 10 * lab.GiB
)

// room is how good it is that so much space is left.
func room(left lab.Bytes) provider.Health {
	switch {
	case left < noSpace:
		return provider.Broken
	case left < littleSpace:
		return provider.Warning
	}
	return provider.Good
}

// pools is about those that we made or would adopt, and the folder that they would be in.
func (d *doctor) pools(c *libvirt.Libvirt) error {
	all, _, err := c.ConnectListAllStoragePools(1, 0)
	if err != nil {
		return err
	}
	virsh := "virsh -c " + d.v.opts.URI + " "
	n := 0
	for _, p := range all {
		if !strings.HasPrefix(p.Name, poolPrefix) {
			continue
		}
		s, err := lookPool(c, p)
		if gone(err) {
			continue
		}
		if err != nil {
			return err
		}
		_, _, _, free, err := c.StoragePoolGetInfo(p)
		if err != nil {
			return err
		}
		active, err := c.StoragePoolIsActive(p)
		if err != nil {
			return err
		}
		n++
		if active == 0 {
			d.add("pool "+p.Name, provider.Broken, s.path+": it is stopped", virsh+"pool-start "+p.Name)
			continue
		}
		left := lab.Bytes(free)
		d.add("pool "+p.Name, room(left), fmt.Sprintf("%s: %s free", s.path, gib(left)), virsh+"vol-list "+p.Name+"   # then vol-delete what is not needed")
	}
	switch {
	case n == 0 && d.facts.folder != "":
		d.add("pools", room(d.facts.space), fmt.Sprintf("none yet; they will be in %s: %s free", d.v.opts.PoolPath, gib(d.facts.space)), d.there("sudo du -xh --max-depth=2 "+d.facts.folder+" | sort -h | tail")+"   # or name another folder: pool_path")
	case n == 0:
		d.add("pools", provider.Good, "none yet; they will be in "+d.v.opts.PoolPath, "")
	}
	if folders := d.facts.closed; len(folders) > 0 && !d.v.opts.session {
		d.add("pool folder", provider.Warning, "QEMU, which is another user, may not enter "+list(folders)+", where pools are to be", d.there("sudo chmod o+x "+strings.Join(folders, " "))+"   # or name another folder: pool_path")
	}
	return nil
}

// gib is a size for people.
func gib(b lab.Bytes) string {
	if b < 10*lab.GiB {
		return fmt.Sprintf("%d MiB", b/lab.MiB)
	}
	return fmt.Sprintf("%d GiB", b/lab.GiB)
}

// network is about what libvirt's own networks need on its host.
func (d *doctor) network() {
	if d.blind != nil || d.v.opts.session {
		return
	}
	f := d.facts
	if path := f.programs["dnsmasq"]; path != "" {
		d.add("dnsmasq", provider.Good, path, "")
	} else {
		d.add("dnsmasq", provider.Broken, "not installed: no uplinks, whose addresses and names it gives", d.there("sudo apt-get install -y dnsmasq-base"))
	}
	switch nft, iptables := f.programs["nft"], f.programs["iptables"]; {
	case iptables != "":
		d.add("firewall", provider.Good, iptables, "")
	case nft != "":
		d.add("firewall", provider.Warning, nft+", which libvirt has used by itself since 10.4; older ones need iptables", d.there("sudo apt-get install -y iptables"))
	default:
		d.add("firewall", provider.Broken, "neither iptables nor nft is installed: no networks", d.there("sudo apt-get install -y iptables"))
	}
	if f.forward {
		d.add("forwarding", provider.Good, "on", "")
	} else {
		d.add("forwarding", provider.Good, "off; libvirt switches it on with the first uplink", "")
	}
	if f.filter {
		d.add("bridge filter", provider.Warning, "frames between machines of one network pass the host's firewall, which may drop what routers of the lab forward",
			d.there("sudo sysctl -w net.bridge.bridge-nf-call-iptables=0 net.bridge.bridge-nf-call-ip6tables=0"))
	} else {
		d.add("bridge filter", provider.Good, "frames between machines do not pass the host's firewall", "")
	}
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// isNetDevice says whether libvirt's name of a device is that of a network interface: net_br0_52_54_00_00_00_01.
func isNetDevice(device, name string) bool { return strings.HasPrefix(device, "net_"+name+"_") }
