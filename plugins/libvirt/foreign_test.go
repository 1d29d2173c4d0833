package libvirt

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// define makes something by virsh from a definition.
func (w bench) define(command, text string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "x.xml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.Fatal(err)
	}
	w.d.Virsh(command, file)
}

// TestForeign puts things in the way that are not the lab's: each is named, and nothing is done to it.
func TestForeign(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(1)
		l.Networks[1].CIDR6 = netip.MustParsePrefix("fd00:20::/64")
		l = lab.Arrange(l)
		for _, dev := range []string{"10.20.0.7/24", "fd00:20::7/64"} {
			for _, line := range []string{"link add taken type bridge", "addr add " + dev + " dev taken", "link set taken up"} {
				if out, err := w.d.Command(t.Context(), "ip", strings.Fields(line)...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			_, err := w.try(t.Context(), l)
			if want := "the host's interface taken has "; provider.CodeOf(err) != provider.InUse || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
			if left, _ := filepath.Glob("/var/lib/labctl/*"); len(left) > 0 {
				t.Errorf("made before it was refused: %v", left)
			}
			if out, err := w.d.Command(t.Context(), "ip", "link", "del", "taken").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		for _, c := range []struct {
			name    string
			command string
			text    string
			undo    []string
			code    provider.Code
			want    string
		}{
			{"a domain of that name", "define", "<domain type='qemu'><name>test-m0</name><memory>1024</memory><os><type>hvm</type></os></domain>", []string{"undefine", "test-m0"},
				provider.Foreign, "domain test-m0 is there already and not made by labctl"},
			{"a network of that name", "net-define", "<network><name>test-office</name><bridge name='own0'/></network>", []string{"net-undefine", "test-office"},
				provider.Foreign, "network test-office is there already"},
			{"a network with the same bridge", "net-define", "<network><name>own</name><bridge name='" + bridgeName("test", "office") + "'/></network>", []string{"net-undefine", "own"},
				provider.InUse, "network own has the bridge " + bridgeName("test", "office")},
			{"a network with the same addresses", "net-create", "<network><name>own</name><bridge name='own0'/><ip address='10.20.0.129' prefix='25'/></network>", []string{"net-destroy", "own"},
				provider.InUse, "network own has 10.20.0.128/25, which overlaps with 10.20.0.0/24"},
			{"a network with the same addresses among others", "net-create", "<network><name>own</name><bridge name='own0'/><ip address='10.90.0.1' prefix='24'/><ip address='10.20.0.129' prefix='25'/></network>", []string{"net-destroy", "own"},
				provider.InUse, "network own has 10.20.0.128/25, which overlaps with 10.20.0.0/24"},
			{"a network with the same IPv6 addresses", "net-create", "<network><name>own</name><bridge name='own0'/><ip family='ipv6' address='fd00:20::1' prefix='48'/></network>", []string{"net-destroy", "own"},
				provider.InUse, "network own has fd00:20::/48, which overlaps with fd00:20::/64"},
			{"a pool that is no folder", "pool-define", "<pool type='iscsi'><name>labctl-disks</name><source><host name='h'/><device path='iqn'/></source><target><path>/dev/disk/by-path</path></target></pool>", []string{"pool-undefine", "labctl-disks"},
				provider.Foreign, "storage pool labctl-disks is not a folder"},
		} {
			t.Run(c.name, func(t *testing.T) {
				w := bench{t, w.v, w.d}
				w.define(c.command, c.text)
				_, err := w.try(t.Context(), l)
				if provider.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
					t.Errorf("code %q, want %q: %v", provider.CodeOf(err), c.code, err)
				}
				w.d.Virsh(c.undo...)
				w.apply(l)
				w.settled(l)
				w.clear(l)
			})
		}
		other := l
		other.Name = "test-m0" // whose machine "a" would be domain test-m0-a, as lab test's machine "m0-a" is
		other.Networks = []lab.Network{{Name: "back", CIDR: netip.MustParsePrefix("10.30.0.0/24"), MTU: 1500}}
		m := l.Machines[0]
		m.Name, m.NICs = "a", []lab.NIC{{Network: "back", Link: lab.Up}}
		other.Machines = []lab.Machine{m}
		other = lab.Complete(other)
		w.apply(other)
		l.Machines[0].Name = "m0-a"
		_, err := w.try(t.Context(), l)
		if want := "domain test-m0-a is there already: machine a of lab test-m0"; provider.CodeOf(err) != provider.Foreign || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		w.apply(lab.Lab{Name: "test"})
		w.settled(other)
		w.clear(other)
	})
}

// TestForeignUser has a foreign machine on a network of the lab: the network is not deleted under it.
func TestForeignUser(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(1)
		w.apply(l)
		w.define("create", "<domain type='qemu'><name>guest-of-honour</name><memory unit='MiB'>64</memory><os><type machine='q35'>hvm</type></os>"+
			"<devices><interface type='network'><source network='test-office'/><model type='virtio'/></interface></devices></domain>")
		if got := w.observe(l)["libvirt.network/office"].Outputs["foreign"]; got != "guest-of-honour" {
			t.Errorf("foreign users: %q", got)
		}
		w.settled(l)
		_, err := w.try(t.Context(), lab.Lab{Name: "test"})
		if provider.CodeOf(err) != provider.InUse || !strings.Contains(err.Error(), "guest-of-honour") {
			t.Errorf("%v", err)
		}
		// A change that restarts the network brings it back as well.
		w.apply(l)
		l.Networks[1].MTU = 1400
		w.apply(l)
		w.settled(l)
		w.joined(3)
		w.d.Virsh("destroy", "guest-of-honour")
		w.clear(l)
	})
}

// TestDestroy removes machines with all that libvirt may keep of them: UEFI variables, saved state, snapshots inside
// and beside their disks.
func TestDestroy(t *testing.T) {
	onHost(t, func(w bench) {
		l := w.idle(4)
		for i := range l.Machines {
			l.Machines[i].NICs = l.Machines[i].NICs[:1]
		}
		l.Machines[0].Firmware = lab.UEFI
		w.apply(l)
		w.settled(l)
		if vars, _ := filepath.Glob(disk("test--m0--nvram.fd")); len(vars) != 1 {
			t.Errorf("UEFI variables: %v", vars)
		}
		w.d.Virsh("managedsave", "test-m1")
		w.d.Virsh("destroy", "test-m2")
		w.d.Virsh("snapshot-create-as", "test-m2", "inside")
		w.d.Virsh("snapshot-create-as", "test-m3", "beside", "--disk-only", "--diskspec", "vdb,snapshot=no")
		w.d.Virsh("pool-refresh", "labctl-disks")
		if got := w.differs(l); !strings.Contains(got, "machine/m1 power") || !strings.Contains(got, "machine/m2 power") || !strings.Contains(got, "machine/m3 root") {
			t.Errorf("differs: %s", got)
		}
		w.clear(l)
		left, _ := filepath.Glob("/var/lib/libvirt/qemu/*/test-m*")
		if len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	})
}

// TestFull fills the pool: the error says so, and with room the next apply goes on.
func TestFull(t *testing.T) {
	onHost(t, func(w bench) {
		dir := "/run/small"
		if err := os.MkdirAll(dir, 0o711); err != nil {
			t.Fatal(err)
		}
		mount := func(args ...string) {
			t.Helper()
			if out, err := w.d.Command(t.Context(), "mount", args...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		mount("-t", "tmpfs", "-o", "size=500k", "tmpfs", dir)
		w = newBench(t, w.d, map[string]any{"pool_path": dir})
		l := w.idle(2)
		_, err := w.try(t.Context(), l)
		if provider.CodeOf(err) != provider.Full {
			t.Errorf("code %q: %v", provider.CodeOf(err), err)
		}
		mount("-o", "remount,size=50m", dir)
		w.apply(l)
		w.settled(l)
		w.clear(l)
		if files, _ := filepath.Glob(dir + "/*"); len(files) > 0 {
			t.Errorf("left: %v", files)
		}
	})
}
