package libvirt

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// others makes on the host what people have there: a network and a machine on it, as virt-manager and Terraform's
// provider define them. The machine hears what is plugged in.
func (w bench) others() (dir string) {
	w.Helper()
	dir = w.TempDir()
	for d := dir; d != "/tmp" && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			break
		}
	}
	img := w.linux().Images[0]
	local, ok, err := w.v.store().Find(img)
	if err != nil || !ok {
		w.Fatal("no kernel: ", err)
	}
	for from, to := range map[string]string{local.Kernel: "vmlinuz", local.Initrd: "initrd"} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, to), b, 0o644)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	w.d.Virsh("vol-create-as", "default", "db_01.qcow2", "16M", "--format", "qcow2")
	networkXML := fmt.Sprintf(othersNetwork, othersMAC)
	machineXML := fmt.Sprintf(othersMachine, image.Short(image.ID(img)), dir, dir, pc.KernelCmdline(local.Cmdline, lab.AMD64, true), othersMAC, dir)
	for name, text := range map[string]string{"net.xml": networkXML, "dom.xml": machineXML} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			w.Fatal(err)
		}
	}
	w.d.Virsh("net-define", filepath.Join(dir, "net.xml"))
	w.d.Virsh("net-start", "default")
	w.d.Virsh("define", filepath.Join(dir, "dom.xml"))
	w.d.Virsh("start", "db_01")
	w.booted(dir)
	return dir
}

// booted returns when the machine hears what is plugged in, and what changes each time it is started.
func (w bench) booted(dir string) string {
	w.Helper()
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		text, _ := os.ReadFile(filepath.Join(dir, "console.log"))
		if strings.Contains(string(text), "SEES") {
			return strings.TrimSpace(w.d.Virsh("domid", "db_01"))
		}
		if time.Now().After(deadline) {
			w.Fatalf("the machine did not boot: %s", text)
		}
	}
}

const othersMAC = "52:54:00:8a:11:0c"

const othersNetwork = `<network>
  <name>default</name>
  <uuid>6d1a0c2e-7f0b-4a55-9d2d-0a6a1de3f001</uuid>
  <forward mode='nat'/>
  <bridge name='virbr0' stp='on' delay='0'/>
  <ip address='192.168.150.1' netmask='255.255.255.0'>
    <dhcp>
      <range start='192.168.150.100' end='192.168.150.199'/>
      <host mac='%s' name='db' ip='192.168.150.7'/>
    </dhcp>
  </ip>
</network>`

const othersMachine = `<domain type='qemu'>
  <name>db_01</name>
  <uuid>0e9d7a7c-5b1e-4c1e-8a43-3d1c8d1f0001</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/%s"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory unit='KiB'>393216</memory>
  <currentMemory unit='KiB'>393216</currentMemory>
  <vcpu placement='static'>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>%s/vmlinuz</kernel>
    <initrd>%s/initrd</initrd>
    <cmdline>%s</cmdline>
  </os>
  <features><acpi/><apic/><vmport state='off'/></features>
  <clock offset='utc'><timer name='rtc' tickpolicy='catchup'/><timer name='hpet' present='no'/></clock>
  <pm><suspend-to-mem enabled='no'/><suspend-to-disk enabled='no'/></pm>
  <devices>
    <disk type='volume' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source pool='default' volume='db_01.qcow2'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='cdrom'><target dev='sda' bus='sata'/><readonly/></disk>
    <controller type='usb' model='qemu-xhci' ports='15'/>
    <controller type='pci' model='pcie-root'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <controller type='pci' model='pcie-root-port'/>
    <interface type='network'><mac address='%s'/><source network='default'/><model type='virtio'/></interface>
    <serial type='pty'><log file='%s/console.log' append='off'/></serial>
    <console type='pty'/>
    <channel type='unix'><source mode='bind'/><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <input type='tablet' bus='usb'/>
    <graphics type='vnc' port='-1' autoport='yes' listen='127.0.0.1'/>
    <video><model type='vga' vram='16384' heads='1' primary='yes'/></video>
    <memballoon model='virtio'/>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
  </devices>
</domain>`

// bareXML is a definition without what labctl may change of it, and without what a start gives.
func bareXML(text string) string {
	for _, re := range []string{
		`(?s)\s*<labctl:object.*?</labctl:object>`, `(?s)<metadata>\s*</metadata>`, `<(memory|currentMemory) [^>]*>\d+</\w+>`, `<vcpu[^>]*>\d+</vcpu>`,
		`\s*<link state='\w+'/>`, `\s*connections='\d+'`,
	} {
		text = regexp.MustCompile(re).ReplaceAllString(text, "")
	}
	return strings.Join(strings.Fields(text), " ")
}

// TestAdopt takes a network and a machine that others made into a lab, manages them, and gives them back.
func TestAdopt(t *testing.T) {
	onHost(t, func(w bench) {
		w.d.Virsh("pool-define-as", "default", "dir", "--target", "/var/lib/labctl/others")
		w.d.Virsh("pool-build", "default")
		w.d.Virsh("pool-start", "default")
		dir := w.others()
		defer func() { // others use the host after this
			for _, args := range []string{"destroy db_01", "undefine db_01", "net-destroy default", "net-undefine default", "vol-delete db_01.qcow2 --pool default", "pool-destroy default", "pool-undefine default"} {
				w.d.Virsh(strings.Fields(args)...)
			}
		}()
		netBefore, domBefore := w.d.Virsh("net-dumpxml", "default", "--inactive"), w.d.Virsh("dumpxml", "db_01", "--inactive")
		l := w.adoptAll(lab.Lab{Name: "test", Domain: "test.lab", Target: "local"})
		if did := w.apply(l); !slices.Equal(did, []string{"create network/default", "create machine/db-01"}) {
			t.Fatalf("adopting is marking: %v", did)
		}
		w.settled(l)
		for _, r := range [][2]string{{netBefore, w.d.Virsh("net-dumpxml", "default", "--inactive")}, {domBefore, w.d.Virsh("dumpxml", "db_01", "--inactive")}} {
			if d := cmp.Diff(bareXML(r[0]), bareXML(r[1])); d != "" {
				t.Errorf("adopting changes nothing but the mark:\n%s", d)
			}
		}
		if left, err := w.v.Adoptable(t.Context(), l); err != nil || len(left) != 0 {
			t.Errorf("what is adopted is listed no more: %v, %v", left, err)
		}
		w.othersCannot(l)

		l.Networks = append(l.Networks, lab.Network{Name: "own", CIDR: netip.MustParsePrefix("10.77.0.0/24"), MTU: 1500})
		w.apply(l)
		changes := []struct {
			name   string
			change func(m *lab.Machine)
			reboot bool
		}{
			{"protected", func(m *lab.Machine) { m.Protect = true }, false},
			{"a cable pulled out", func(m *lab.Machine) { m.NICs[0].Link = lab.Down }, false},
			{"a cable put in", func(m *lab.Machine) { m.NICs[0].Link = lab.Up }, false},
			{"memory beyond what it was built for", func(m *lab.Machine) { m.Memory = 448 * lab.MiB }, true},
			{"a NIC on a network of the lab's own", func(m *lab.Machine) {
				m.NICs = append(m.NICs, lab.NIC{Network: "own", MAC: "02:00:00:00:00:77", Link: lab.Up})
			}, false},
			{"without it", func(m *lab.Machine) { m.NICs = m.NICs[:1] }, false},
			{"one more CPU", func(m *lab.Machine) { m.CPUs = 2 }, true},
		}
		for _, c := range changes {
			boots := w.booted(dir)
			c.change(&l.Machines[0])
			if reboots := w.planned(l, "libvirt.machine/db-01"); reboots != c.reboot {
				t.Errorf("%s: planned with a reboot: %v", c.name, reboots)
			}
			w.apply(l)
			w.settled(l)
			if again := w.booted(dir) != boots; again != c.reboot {
				t.Errorf("%s: rebooted: %v, want %v", c.name, again, c.reboot)
			}
			if d := cmp.Diff(bareXML(domBefore), bareXML(w.d.Virsh("dumpxml", "db_01", "--inactive"))); d != "" && len(l.Machines[0].NICs) == 1 {
				t.Errorf("%s: all else of the definition stays (-before +after):\n%s", c.name, d)
			}
		}
		// A guest that hears nothing of memory keeps what it has, and is not started anew for it; the next start gives it.
		l.Machines[0].Memory = 256 * lab.MiB
		if w.planned(l, "libvirt.machine/db-01") {
			t.Error("less memory is planned with a reboot")
		}
		before := w.booted(dir)
		if _, err := w.try(t.Context(), l); provider.CodeOf(err) != provider.Timeout || !strings.Contains(err.Error(), "balloon driver") {
			t.Errorf("less memory for a guest without a balloon driver: %v", err)
		}
		w.settled(l)
		if w.booted(dir) != before {
			t.Error("rebooted for less memory")
		}
		for _, power := range []lab.Power{lab.Off, lab.On} {
			l.Machines[0].Power = power
			w.apply(l)
			w.settled(l)
		}
		id := w.booted(dir)

		// What would delete it by mistake does not.
		for _, o := range w.observe(l) {
			if o.Adopted {
				o.Adopted = false
				_ = w.v.Delete(t.Context(), o, provider.Silent) // that it is still there is what counts
			}
		}
		w.settled(l)

		w.apply(lab.Lab{Name: l.Name, Target: l.Target})
		if found := w.observe(l); len(found) != 0 {
			t.Errorf("released, but still the lab's: %v", found)
		}
		if now := strings.TrimSpace(w.d.Virsh("domid", "db_01")); now != id {
			t.Errorf("a machine runs on when it is released: domain id %s, before %s", now, id)
		}
		if text := w.d.Virsh("dumpxml", "db_01") + w.d.Virsh("dumpxml", "db_01", "--inactive") + w.d.Virsh("net-dumpxml", "default", "--inactive"); strings.Contains(text, markURI) {
			t.Errorf("a mark is left: %s", text)
		}
		if d := cmp.Diff(strings.Join(strings.Fields(netBefore), " "), strings.Join(strings.Fields(w.d.Virsh("net-dumpxml", "default", "--inactive")), " ")); d != "" {
			t.Errorf("the network is as it was (-before +after):\n%s", d)
		}
	})
}

// adoptAll is l with all that can be adopted.
func (w bench) adoptAll(l lab.Lab) lab.Lab {
	w.Helper()
	all, err := w.v.Adoptable(w.Context(), l)
	if err != nil || len(all) != 2 || all[0].Network == nil || all[1].Machine == nil {
		w.Fatalf("a network and a machine are there to be adopted: %+v, %v", all, err)
	}
	n, m := *all[0].Network, *all[1].Machine
	want := lab.Machine{Name: "db_01", Adopted: "db_01", CPUs: 1, Memory: 384 * lab.MiB, Power: lab.On}
	want.NICs = []lab.NIC{{MAC: othersMAC, Link: lab.Up, Addr: m.NICs[0].Addr, Given: true}}
	if d := cmp.Diff(want, m, cmpopts.EquateComparable(lab.NIC{}, netip.Addr{})); d != "" || m.NICs[0].Addr.String() != "192.168.150.7" {
		w.Fatalf("the machine in the lab's terms (-want +got):\n%s", d)
	}
	if n.CIDR.String() != "192.168.150.0/24" || !n.Uplink || all[0].Refused != "" || all[1].Refused != "" || all[1].On[0] != "default" {
		w.Fatalf("the network in the lab's terms: %+v", all[0])
	}
	m.Name, m.NICs[0].Network = "db-01", "default"
	l.Networks, l.Machines = append(l.Networks, n), append(l.Machines, m)
	return lab.Complete(l)
}

// othersCannot checks that another lab cannot adopt what l has.
func (w bench) othersCannot(l lab.Lab) {
	w.Helper()
	l.Name = "other"
	if did, err := w.try(w.Context(), l); provider.CodeOf(err) != provider.Foreign {
		w.Errorf("another lab adopts as well: %v, %v", did, err)
	}
}

// planned says whether a change of the thing at a takes a reboot.
func (w bench) planned(l lab.Lab, a string) bool {
	w.Helper()
	desired, err := w.v.Expand(l, nil)
	if err != nil {
		w.Fatal(err)
	}
	have, found := w.observe(l), false
	for _, r := range desired {
		o := have[a]
		if r.Addr.String() != a || cmp.Equal(o.Attrs, r.Attrs) {
			continue
		}
		k, _ := Description().Kind(r.Addr.Kind)
		for name := range k.Attrs {
			if cmp.Equal(o.Attrs[name], r.Attrs[name]) {
				continue
			}
			found = true
			impact := k.Attrs[name].Impact
			if b, ok := o.Attrs[name].(float64); ok && k.Attrs[name].Lower != "" {
				if n, ok := r.Attrs[name].(float64); ok && n < b {
					impact = k.Attrs[name].Lower
				}
			}
			if impact.Rank() >= provider.Reboot.Rank() {
				return true
			}
		}
	}
	if !found {
		w.Errorf("nothing of %s is planned", a)
	}
	return false
}

func TestRemark(t *testing.T) {
	m := mark{Lab: "a<b", Name: "lan", note: note{Adopted: "default"}}
	other := mark{Lab: "c", Name: "lan"}
	for _, c := range []struct{ before, with string }{
		{"<network>\n  <name>x</name>\n</network>", "<network><metadata>%s</metadata>\n  <name>x</name>\n</network>"},
		{"<network><metadata/><name>x</name></network>", "<network><metadata>%s</metadata><name>x</name></network>"},
		{"<network><metadata><o:x xmlns:o='urn:o'>1</o:x></metadata><name>x</name></network>", "<network><metadata>%s<o:x xmlns:o='urn:o'>1</o:x></metadata><name>x</name></network>"},
		{"<network><name>x</name><ip><metadata>no</metadata></ip></network>", "<network><metadata>%s</metadata><name>x</name><ip><metadata>no</metadata></ip></network>"},
	} {
		got, err := remark(c.before, other.element())
		if err == nil {
			got, err = remark(got, m.element())
		}
		if want := fmt.Sprintf(c.with, m.element()); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", c.before, err, got, want)
		}
		if back, err := remark(got, ""); err != nil || strings.Join(strings.Fields(back), "") != strings.Join(strings.Fields(strings.Replace(c.before, "<metadata/>", "", 1)), "") {
			t.Errorf("taken away: %s, %v", back, err)
		}
	}
	if _, err := remark("<network><name>", m.element()); err == nil {
		t.Error("half a definition is understood")
	}
}
