package export

import (
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// uefi is where Debian installs the firmware of an architecture, and the template of its variables.
func uefi(a lab.Arch) (code, vars string) {
	if a == lab.ARM64 {
		return "/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"
	}
	return "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
}

// machine is a domain, its volumes and its seed.
func (t *terraform) machine(m lab.Machine) error {
	seed := t.seeds[m.Name]
	user, err := t.userData(seed)
	if err != nil {
		return err
	}
	t.guests[m.Name] = t.guest(seed)
	t.resource("libvirt_cloudinit_disk", m.Name, block{
		"name": t.host(m.Name, "seed") + ".iso", "pool": pool(m.Disks[0].Pool),
		"user_data": user, "meta_data": literal(string(seed.MetaData)), "network_config": literal(string(seed.NetworkConfig)),
	})
	d := block{
		"name": t.host(m.Name), "type": "${var.domain_type}", "vcpu": m.CPUs, "memory": int(m.Memory / lab.MiB),
		"arch": map[lab.Arch]string{lab.AMD64: "x86_64", lab.ARM64: "aarch64"}[m.Arch], "running": m.Power == lab.On, "autostart": t.Options.Autostart,
		"cloudinit": "${libvirt_cloudinit_disk." + id(m.Name) + ".id}",
		"cpu":       []block{{"mode": "${var.domain_type == \"kvm\" ? \"host-passthrough\" : \"maximum\"}"}},
		"console":   []block{{"type": "pty", "target_port": "0", "target_type": "serial"}},
	}
	var disks []block
	for i, x := range m.Disks {
		disks = append(disks, block{"volume_id": "${libvirt_volume." + t.volume(m, i, x) + ".id}"})
	}
	d["disk"] = disks
	var nics []block
	for _, n := range m.NICs {
		nics = append(nics, t.nic(m, n))
	}
	if len(nics) > 0 {
		d["network_interface"] = nics
	}
	t.boots(d, m)
	t.beyond(d, m)
	if m.Protect {
		d["lifecycle"] = block{"prevent_destroy": true}
	}
	t.resource("libvirt_domain", m.Name, d)
	return nil
}

// volume is a disk.
func (t *terraform) volume(m lab.Machine, i int, x lab.Disk) string {
	name := m.Name + "_" + x.Name
	v := block{"name": t.host(m.Name, x.Name) + ".qcow2", "pool": pool(x.Pool), "size": uint64(x.Size)}
	if i == 0 && m.Image != "" {
		v["base_volume_id"] = "${libvirt_volume.image_" + m.Image + ".id}"
	} else {
		v["format"] = "qcow2"
	}
	if m.Protects(x) {
		v["lifecycle"] = block{"prevent_destroy": true}
	}
	t.resource("libvirt_volume", name, v)
	return id(name)
}

// nic is an interface. An address is only for libvirt's own DHCP to know: machines have theirs in their seeds.
func (t *terraform) nic(m lab.Machine, n lab.NIC) block {
	b := block{"mac": n.MAC, "wait_for_lease": false}
	net, _ := t.Lab.Network(n.Network)
	if net.Adopted != "" {
		b["network_name"] = literal(net.Adopted)
		return b
	}
	b["network_id"] = "${libvirt_network." + id(n.Network) + ".id}"
	if net.Uplink && t.Options.Bridges[n.Network] == "" {
		b["hostname"] = m.Name
		if n.Addr.IsValid() && n.Addr.Is4() {
			b["addresses"] = []string{n.Addr.String()}
		}
	}
	return b
}

// boots is how the machine starts.
func (t *terraform) boots(d block, m lab.Machine) {
	if t.Options.Machine != "" {
		d["machine"] = literal(t.Options.Machine)
	} else if m.Arch == lab.ARM64 {
		d["machine"] = "virt"
	}
	switch m.Firmware {
	case lab.UEFI:
		code, vars := uefi(m.Arch)
		t.variable("uefi_"+string(m.Arch), "The host's UEFI firmware.", code)
		t.variable("uefi_vars_"+string(m.Arch), "The template of its variables.", vars)
		d["firmware"] = "${var.uefi_" + string(m.Arch) + "}"
		d["nvram"] = []block{{"file": "${var.pool_path}/" + t.host(m.Name) + ".fd", "template": "${var.uefi_vars_" + string(m.Arch) + "}"}}
	case lab.Kernel:
		t.note("firmware kernel: machines start by their disks' own loaders (BIOS)")
	}
	if len(m.Boot) > 0 {
		var dev []string
		for _, b := range m.Boot {
			x := "hd"
			if _, network := b.Network(m); network {
				x = "network"
			}
			if !slices.Contains(dev, x) {
				dev = append(dev, x)
			}
		}
		d["boot_device"] = []block{{"dev": dev}}
	}
}

// beyond says what the provider has no words for: by a stylesheet over the XML (it needs xsltproc), or as a note.
func (t *terraform) beyond(d block, m lab.Machine) {
	var rules []string
	for i, x := range m.Disks {
		if i > 0 { // guests find data disks by their serials
			rules = append(rules, rule(fmt.Sprintf("/domain/devices/disk[target/@dev='vd%c']", 'a'+i), "<serial>"+x.Name+"</serial>"))
		}
	}
	for _, n := range m.NICs {
		if n.Link == lab.Down {
			rules = append(rules, rule(fmt.Sprintf("/domain/devices/interface[translate(mac/@address,'ABCDEF','abcdef')='%s']", n.MAC), "<link state='down'/>"))
		}
	}
	if m.Nested {
		t.note("machine %s: nested virtualisation comes with the host's processor (cpu mode host-passthrough), where its kernel allows it", m.Name)
	}
	if len(m.Devices) > 0 {
		t.note("machine %s: the provider has no words for the host's devices %s; virsh attach-device, or a stylesheet", m.Name, strings.Join(m.Devices, ", "))
	}
	if m.Arch == lab.ARM64 {
		t.note("machine %s: the provider gives the seed an IDE drive, which the board virt does not have: the stylesheet makes it SCSI", m.Name)
		rules = append(rules, `<xsl:template match="/domain/devices/disk[@device='cdrom']/target/@bus"><xsl:attribute name="bus">scsi</xsl:attribute></xsl:template>`)
	}
	if len(rules) > 0 {
		d["xml"] = []block{{"xslt": literal(stylesheet(rules))}}
	}
}

// rule adds an element to what a path means.
func rule(match, add string) string {
	return `<xsl:template match="` + match + `"><xsl:copy><xsl:apply-templates select="@*|node()"/>` + add + `</xsl:copy></xsl:template>`
}

func stylesheet(rules []string) string {
	return `<?xml version="1.0"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:output omit-xml-declaration="yes" indent="yes"/>
<xsl:template match="node()|@*"><xsl:copy><xsl:apply-templates select="node()|@*"/></xsl:copy></xsl:template>
` + strings.Join(rules, "\n") + "\n</xsl:stylesheet>\n"
}
