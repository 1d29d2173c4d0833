package providertest

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Edit is a change of the lab. The judge makes it and takes it back.
type Edit struct {
	Name   string // unique
	Change func(*lab.Lab)
}

// Edits are the changes that can be made to any lab: to its last machine, its networks and its image.
func Edits(l lab.Lab) []Edit {
	at := len(l.Machines) - 1
	if at < 0 {
		return nil
	}
	machine := func(name string, f func(*lab.Machine)) Edit {
		return Edit{name, func(l *lab.Lab) { f(&l.Machines[at]) }}
	}
	edits := []Edit{
		machine("more memory", func(m *lab.Machine) { m.Memory *= 2 }),
		machine("more cpus", func(m *lab.Machine) { m.CPUs++ }),
		machine("protect", func(m *lab.Machine) { m.Protect = !m.Protect }),
		machine("power off", func(m *lab.Machine) { m.Power = lab.Off }),
		machine("power suspended", func(m *lab.Machine) { m.Power = lab.Suspended }),
		machine("power saved", func(m *lab.Machine) { m.Power = lab.Saved }),
		machine("other firmware", func(m *lab.Machine) {
			m.Firmware = map[lab.Firmware]lab.Firmware{lab.BIOS: lab.UEFI, lab.UEFI: lab.BIOS, lab.Kernel: lab.BIOS}[m.Firmware]
		}),
		machine("network first", func(m *lab.Machine) {
			m.Boot = []lab.Boot{lab.FromNetwork, lab.FromDisk}
			if m.Firmware == lab.Kernel {
				m.Firmware = lab.BIOS
			}
		}),
		{"installed from the network", func(l *lab.Lab) {
			m := &l.Machines[at]
			if len(m.NICs) == 0 {
				return
			}
			for i := range l.Networks {
				if l.Networks[i].Name == m.NICs[0].Network {
					l.Networks[i].Netboot = lab.ByHost
				}
			}
			if m.Install, m.Boot = lab.FromNetwork, nil; m.Firmware == lab.Kernel {
				m.Firmware = lab.BIOS
			}
			*l = lab.Complete(*l)
		}},
		machine("nested", func(m *lab.Machine) { m.Nested = true }),
		machine("a device of the host, while it is off", func(m *lab.Machine) {
			m.Devices, m.Power = []string{"0000:65:00.0"}, lab.Off // hosts have none such, or no IOMMU
		}),
		machine("larger root disk", func(m *lab.Machine) { m.Disks[0].Size += lab.GiB }),
		machine("another disk", func(m *lab.Machine) { m.Disks = append(m.Disks, lab.Disk{Name: "extra", Size: lab.GiB}) }),
		machine("another disk, a protected one", func(m *lab.Machine) {
			m.Disks = append(m.Disks, lab.Disk{Name: "precious", Size: lab.GiB, Protect: true})
		}),
		machine("no data disks", func(m *lab.Machine) { m.Disks = m.Disks[:1] }),
		machine("link down", func(m *lab.Machine) { m.NICs[0].Link = lab.Down }),
		machine("no nics", func(m *lab.Machine) { m.NICs = nil }),
		machine("another mac", func(m *lab.Machine) { m.NICs[0].MAC = "02:00:5e:10:00:01" }),
		machine("another file", func(m *lab.Machine) {
			m.Guest.Files = append(m.Guest.Files, lab.File{Path: "/etc/motd", Text: "hello\n", Mode: "0644", Owner: "root", Group: "root"})
		}),
		{"another nic", anotherNIC},
		{"another machine", func(l *lab.Lab) {
			m := clone(*l).Machines[at]
			m.Name = "zz-another"
			for i := range m.NICs {
				m.NICs[i].MAC, m.NICs[i].Addr, m.NICs[i].Given = "", netip.Addr{}, false
			}
			l.Machines = append(l.Machines, m)
			*l = lab.Complete(*l)
		}},
		{"one machine less", func(l *lab.Lab) { l.Machines = l.Machines[:at] }},
		{"another network", func(l *lab.Lab) {
			l.Networks = append(l.Networks, lab.Network{Name: "zz-another", CIDR: netip.MustParsePrefix("10.199.77.0/24"), MTU: 1500})
		}},
		{"everything at once", func(l *lab.Lab) {
			m := &l.Machines[at]
			m.Memory, m.CPUs, m.Disks[0].Size = m.Memory*2, m.CPUs+1, m.Disks[0].Size+lab.GiB
			anotherNIC(l)
		}},
	}
	for i, n := range l.Networks {
		network := func(name string, f func(*lab.Network)) {
			edits = append(edits, Edit{name + " of " + n.Name, func(l *lab.Lab) { f(&l.Networks[i]) }})
		}
		network("mtu", func(n *lab.Network) { n.MTU = 1400 })
		network("netboot by the host", func(n *lab.Network) { n.Netboot = lab.ByHost })
		network("uplink", func(n *lab.Network) { n.Uplink = !n.Uplink })
		if n.Uplink {
			network("routed", func(n *lab.Network) { n.Routed = !n.Routed })
		}
		if n.CIDR.IsValid() && n.CIDR.Addr().Is4() && !n.CIDR6.IsValid() {
			edits = append(edits, Edit{"second family of " + n.Name, func(l *lab.Lab) {
				l.Networks[i].CIDR6 = lab.ULA(l.Name, n.Name)
				*l = lab.Arrange(*l)
			}})
		}
		if n.CIDR.IsValid() && n.CIDR.Addr().Is4() && n.CIDR.Bits() <= 24 {
			network("dhcp range", func(n *lab.Network) {
				b := n.CIDR.Masked().Addr().As4()
				b[3] = 200
				from := netip.AddrFrom4(b)
				b[3] = 210
				n.DHCP = &lab.Range{From: from, To: netip.AddrFrom4(b)}
			})
		}
		if n.CIDR.IsValid() && n.CIDR.Bits() > 16 {
			network("wider cidr", func(n *lab.Network) { n.CIDR = netip.PrefixFrom(n.CIDR.Addr(), n.CIDR.Bits()-1).Masked() })
		}
	}
	for i, img := range l.Images {
		if img.Build == nil {
			edits = append(edits, Edit{"content of image " + img.Name, func(l *lab.Lab) {
				l.Images[i].Digest = "sha256:" + hex.EncodeToString([]byte(strings.Repeat("j", 32)))
			}})
		}
	}
	return edits
}

// anotherNIC puts the last machine on a network that it is not on yet.
func anotherNIC(l *lab.Lab) {
	m := &l.Machines[len(l.Machines)-1]
	for _, n := range l.Networks {
		if _, on := m.NIC(n.Name); !on {
			m.NICs = append(m.NICs, lab.NIC{Network: n.Name, Link: lab.Up})
			break
		}
	}
	*l = lab.Complete(*l)
}

// edits are those to make.
func (o Options) edits(t *testing.T) []Edit {
	t.Helper()
	var edits []Edit
	known := map[string]bool{}
	for _, e := range append(Edits(o.Lab), o.Edits...) {
		if known[e.Name] {
			t.Fatalf("edits have unique names: %q", e.Name)
		}
		known[e.Name] = true
		if o.Skip[e.Name] == "" {
			edits = append(edits, e)
		}
	}
	for name := range o.Skip {
		if !known[name] {
			t.Errorf("Skip names an edit that there is not: %q", name)
		}
	}
	return edits
}

// edited makes the lab, then every edit and back, and checks the law and the impacts each time.
func edited(t *testing.T, o Options) {
	w, options := o.world(t)
	t.Cleanup(func() {
		w.l = o.Lab
		w.clear(t)
		o.gone(t, options)
	})
	w.converge(t)
	reached := map[string]bool{}
	for _, e := range o.edits(t) {
		t.Run(e.Name, func(t *testing.T) {
			l := clone(o.Lab)
			e.Change(&l)
			if _, err := w.p.Expand(l, o.seeds(l)); provider.CodeOf(err) == provider.Unsupported {
				t.Logf("refused with a reason, which is all that is promised: %v", err)
				return
			}
			boots := map[string]string{}
			w.l = l
			w.step(t, "after the change", reached, boots)
			w.l = o.Lab
			w.step(t, "after taking the change back", reached, boots)
		})
		w.l = o.Lab
	}
	var missed []string
	for _, k := range o.Plugin.Description.Kinds {
		for name := range k.Attrs {
			if a := k.Name + "." + name; !reached[a] && o.Fixed[a] == "" && !(name == adoptedAttr && o.Plugin.Description.Has(provider.Adopts)) {
				missed = append(missed, a)
			}
		}
	}
	sort.Strings(missed)
	for _, a := range missed {
		t.Errorf("the law holds for every attribute: no edit changes %s; add one to Options.Edits, or the reason to Options.Fixed", a)
	}
}

// step converges, and checks the law and the impacts of what was updated. boots are the boots of machines, as far as
// they go on: one that stands still tells its own again in a later step.
func (w world) step(t *testing.T, when string, reached map[string]bool, boots map[string]string) {
	t.Helper()
	want := w.desired(t)
	w.mark(t, want, reached)
	for _, m := range w.running(t) {
		boots[m] = w.o.BootID(t, w.p, w.l, m)
	}
	done := w.converge(t)
	w.law(t, when, want)
	for _, c := range w.converge(t).updates {
		t.Errorf("the law: %s there is nothing to change: %s, %v", when, c.after.Addr, c.attrs)
	}
	running := w.running(t)
	for m, before := range boots {
		impact, why := done.cost(m)
		if impact.Rank() >= provider.Reboot.Rank() || done.machines[m] {
			delete(boots, m)
			continue
		}
		if impact == provider.None || !slices.Contains(running, m) {
			continue
		}
		if after := w.o.BootID(t, w.p, w.l, m); after != before {
			t.Errorf("an impact is a promise: %s is %s, but the boot of machine %s changed from %s to %s", why, impact, m, before, after)
		}
	}
}

// mark notes which attributes this step changes.
func (w world) mark(t *testing.T, want []provider.Resource, reached map[string]bool) {
	t.Helper()
	have := map[provider.Addr]provider.Observed{}
	for _, o := range w.observed(t) {
		have[o.Addr] = o
	}
	for _, r := range want {
		k, _ := w.o.Plugin.Description.Kind(r.Addr.Kind)
		if o, ok := have[r.Addr]; ok {
			for _, a := range compare(k, o, r).attrs {
				reached[a] = true
			}
		}
	}
}

// running lists the machines that run and whose boots can be told apart.
func (w world) running(t *testing.T) []string {
	t.Helper()
	if w.o.BootID == nil {
		return nil
	}
	var names []string
	for _, o := range w.observed(t) {
		k, _ := w.o.Plugin.Description.Kind(o.Addr.Kind)
		power, _ := o.Attrs["power"].(string)
		if _, ok := w.l.Machine(o.Machine); ok && k.Machine && lab.Power(power).Answers() {
			names = append(names, o.Machine)
		}
	}
	return names
}
