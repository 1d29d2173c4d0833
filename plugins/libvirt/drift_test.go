package libvirt

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// TestDrift changes a lab behind labctl's back, each time in another way: it is seen, under the right name, and healed.
func TestDrift(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.linux()
		l.Networks[1].DHCP = nil
		l.Machines[0].CPUs = 2
		w.apply(l)
		w.settled(l)
		mac := l.Machines[0].NICs[0].MAC
		host := fmt.Sprintf("<host mac='%s' name='m0' ip='%s'/>", mac, w.observe(l)["libvirt.machine/m0"].Outputs["address/lan"])
		root := diskVolume("test", "m0", "root")
		for _, d := range []struct {
			name  string
			virsh []string // commands, their words separated by "|"
			want  string   // what differs then
		}{
			{"destroyed", []string{"destroy|test-m0"}, "machine/m0 power"},
			{"suspended", []string{"suspend|test-m0"}, "machine/m0 power"},
			{"saved", []string{"managedsave|test-m0"}, "machine/m0 power"},
			{"less memory at the next start", []string{"setmem|test-m0|128M|--config"}, "machine/m0 memory"},
			{"fewer CPUs at the next start", []string{"setvcpus|test-m0|1|--config"}, "machine/m0 definition"},
			{"a NIC unplugged", []string{"detach-interface|test-m0|network|--mac|" + mac + "|--live"}, "machine/m0 definition, machine/m0 nics"},
			{"a NIC gone at the next start", []string{"detach-interface|test-m0|network|--mac|" + mac + "|--config"}, "machine/m0 definition"},
			{"one NIC more", []string{"attach-interface|test-m0|network|test-lan|--mac|52:54:00:11:22:33|--model|virtio|--live|--config"}, "machine/m0 nics"},
			{"a cable pulled out", []string{"domif-setlink|test-m0|" + mac + "|down"}, "machine/m0 definition, machine/m0 nics"},
			{"starts with the host", []string{"autostart|test-m0"}, "machine/m0 autostart"},
			{"undefined while it runs", []string{"undefine|test-m0"}, "machine/m0 definition"},
			{"renamed", []string{"destroy|test-m0", "domrename|test-m0|other"}, "machine/m0 name, machine/m0 power"},
			{"no reservation", []string{"net-update|test-lan|delete|ip-dhcp-host|" + host + "|--live|--config"}, "network/lan leases"},
			{"no reservation at the next start", []string{"net-update|test-lan|delete|ip-dhcp-host|" + host + "|--config"}, "network/lan definition"},
			{"a network stopped", []string{"net-destroy|test-office"}, "network/office power"},
			{"a network started anew", []string{"net-destroy|test-office", "net-start|test-office"}, "network/office detached"},
			{"a machine left on a detour", []string{"net-create|%detour", "update-device|test-m0|%nic|--live"}, "machine/m0 definition, machine/m0 nics"},
			{"a network undefined while it runs", []string{"net-undefine|test-office"}, "network/office autostart"},
			{"both gone", []string{"net-destroy|test-office", "net-undefine|test-office"}, "network/office missing"},
			{"the seed deleted", []string{"vol-delete|" + seedVolume("test", "m0") + "|--pool|labctl-disks"}, "machine/m0 seed"},
			{"the root disk deleted while it runs", []string{"vol-delete|" + root + "|--pool|labctl-disks"}, "disk/m0/root missing, guest/m0 missing, machine/m0 root"},
			{"undefined when it was off", []string{"destroy|test-m0", "undefine|test-m0"}, "guest/m0 missing, machine/m0 missing"},
			{"the pool stopped", []string{"pool-destroy|labctl-disks"}, "disk/m0/root missing, pool/disks power"},
		} {
			t.Run(d.name, func(t *testing.T) {
				w := bench{t, w.v, w.d}
				w.sees(l, "m0", 0, "SEES") // a guest that hears what is unplugged
				for _, line := range d.virsh {
					for name, text := range w.definitions(mac) {
						file := filepath.Join(t.TempDir(), "x.xml")
						if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
							t.Fatal(err)
						}
						line = strings.ReplaceAll(line, name, file)
					}
					w.d.Virsh(strings.Split(line, "|")...)
				}
				if got := w.differs(l); got != d.want {
					t.Errorf("differs: %s, want %s", got, d.want)
				}
				w.apply(l)
				w.settled(l)
				if link := w.d.Virsh("domifstat", "test-m0", mac); link == "" {
					t.Error("the NIC has no device on the host")
				}
				w.joined(2)
			})
		}
		w.clear(l)
	})
}

// definitions are files that commands of TestDrift name: a detour as a crash leaves it, and a NIC on it.
func (w bench) definitions(mac string) map[string]string {
	w.Helper()
	m := mark{Lab: "test", Name: "lan" + detourSuffix}
	x := networkXML(networkAttrs{Name: "test-lan" + detourSuffix, Forward: isolated, MAC: lab.DoorMAC("test", m.Name)}, m)
	network, err := x.Marshal()
	if err != nil {
		w.Fatal(err)
	}
	dump := w.d.Virsh("dumpxml", "test-m0")
	if at := strings.Index(dump, mac); at > 0 {
		dump = dump[strings.LastIndex(dump[:at], "<interface"):]
		dump = dump[:strings.Index(dump, "</interface>")] + "</interface>"
	}
	source := regexp.MustCompile("<source network='test-lan'[^>]*>")
	return map[string]string{"%detour": network, "%nic": source.ReplaceAllString(dump, "<source network='test-lan"+detourSuffix+"'/>")}
}

// differs names what is not as the lab says.
func (w bench) differs(l lab.Lab) string {
	w.Helper()
	desired, err := w.v.Expand(l, map[string]lab.Seed{"m0": {Digest: "sha256:1"}})
	if err != nil {
		w.Fatal(err)
	}
	have := w.observe(l)
	diffs := map[string]bool{}
	for _, r := range desired {
		o, ok := have[r.Addr.String()]
		name := r.Addr.Kind + "/" + r.Addr.Name
		if !ok {
			diffs[name+" missing"] = true
			continue
		}
		both := provider.Attrs{}
		maps.Copy(both, r.Attrs)
		maps.Copy(both, o.Attrs)
		for a := range both {
			if !cmp.Equal(r.Attrs[a], o.Attrs[a]) {
				diffs[name+" "+a] = true
			}
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(diffs)), ", ")
}

// joined checks that so many NICs of machines are on a bridge.
func (w bench) joined(n int) {
	w.Helper()
	out, err := w.d.Command(w.Context(), "bridge", "link").Output()
	if err != nil {
		w.Fatal(err)
	}
	if got := strings.Count(string(out), "vnet"); got != n {
		w.Errorf("%d NICs are on a bridge, want %d:\n%s", got, n, out)
	}
}
