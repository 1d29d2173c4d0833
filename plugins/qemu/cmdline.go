package qemu

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider/pc"
)

// The accelerators by QEMU's names.
const (
	accelTCG = "tcg"
	accelKVM = "kvm"
	accelHVF = "hvf"
)

const defaultMTU = 1500

// host is what a command line depends on besides the machine.
type host struct {
	Binary  string  `json:"binary"` // path of qemu-system-<arch>
	Version version `json:"version"`
	Accel   string  `json:"accel"`
	Why     string  `json:"why"`  // why this accelerator
	CPU     string  `json:"cpu"`  // option cpu, or ""
	Code    string  `json:"code"` // UEFI firmware and the template of its variables; "" if not installed
	Vars    string  `json:"vars"`
}

// version of QEMU.
type version struct{ Major, Minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }

// least says whether v is at least major.minor.
func (v version) least(major, minor int) bool {
	return v.Major > major || v.Major == major && v.Minor >= minor
}

// spareBridges is how many ports every machine has beyond those it starts with need, for NICs and disks that come
// while it runs. A port costs the guest some milliseconds at boot.
const spareBridges = 8

// commandLine is the command line that starts a machine: a function of its definition, its folders and the host.
func commandLine(d definition, ds dirs, h host) []string {
	a := d.Attrs
	c := &cmdline{}
	c.add("-name", "guest="+d.Lab+"/"+d.Machine)
	c.add("-uuid", d.uuid())
	c.add("-no-user-config", "-nodefaults", "-display", "none", "-msg", "timestamp=on")
	c.board(d, h)
	c.processors(a, h)
	c.add("-m", fmt.Sprintf("%dM", a.Memory/lab.MiB))
	c.firmware(d, ds, h)
	c.sockets(d, ds)
	c.nested(a)
	c.add("-device", "virtio-rng-pci")
	bridges := len(a.NICs) + max(len(a.Disks)-1, 0) + spareBridges
	if d.Layout != nil {
		bridges = d.Layout.Ports
	}
	c.bridges(bridges)
	c.disks(d, ds)
	for i, n := range a.NICs {
		c.add("-netdev", "stream,id=net."+n.Network+",server=on,addr.type=unix,addr.path="+comma(ds.port(n.Network, d.Machine)))
		c.json("-device", nicDevice(a, n, d.port("nic."+n.Network, i)))
	}
	if d.held() || d.Layout != nil {
		c.add("-S")
	}
	if d.Layout != nil {
		c.add("-incoming", "defer")
	}
	return c.args
}

type cmdline struct{ args []string }

func (c *cmdline) add(args ...string) { c.args = append(c.args, args...) }

func (c *cmdline) json(flag string, v any) {
	b, _ := json.Marshal(v) // maps of strings, numbers and booleans
	c.add(flag, string(b))
}

// board is the machine type, accelerator and CPU.
func (c *cmdline) board(d definition, h host) {
	board, options := "q35", ",usb=off,vmport=off"
	if d.Attrs.Arch == lab.ARM64 {
		board, options = "virt", ",gic-version=max"
	}
	if d.Layout != nil && d.Layout.Board != "" {
		board = d.Layout.Board
	}
	accel := h.Accel
	if h.Accel == accelTCG {
		accel = "tcg,thread=multi,tb-size=256" // MiB; the default takes up to a gigabyte for each machine
	}
	c.add("-machine", board+options, "-accel", accel, "-cpu", nestedModel(d.Attrs, h, cpuModel(d.Attrs.Arch, h)))
}

// processors are those that a machine has. An emulated one could always get a second: to QEMU a machine that never can is
// one where nothing happens at the same time, so it leaves out the guest's memory barriers; but devices do run beside the
// processor, and disks and NICs wait forever for what the guest has told them too early (seen with NVMe, QEMU 7.2: a
// queue stands still within seconds of reading with several processes).
func (c *cmdline) processors(a machineAttrs, h host) {
	if h.Accel == accelTCG && a.CPUs == 1 {
		c.add("-smp", "1,maxcpus=2,sockets=2,cores=1,threads=1")
		return
	}
	c.add("-smp", fmt.Sprintf("%d,sockets=1,cores=%d,threads=1", a.CPUs, a.CPUs))
}

func cpuModel(arch lab.Arch, h host) string {
	switch {
	case h.CPU != "":
		return h.CPU
	case h.Accel != accelTCG:
		return "host"
	case arch == lab.ARM64:
		return "cortex-a72" // "max" spends most of its time on emulated pointer authentication
	}
	return "max,la57=off" // five-level page tables only slow emulation down
}

// firmware is how the machine starts.
func (c *cmdline) firmware(d definition, ds dirs, h host) {
	switch d.Attrs.Firmware {
	case lab.Kernel:
		c.add("-kernel", d.Kernel)
		if d.Initrd != "" {
			c.add("-initrd", d.Initrd)
		}
		c.add("-append", pc.KernelCmdline(d.Cmdline, d.Attrs.Arch, h.Accel == accelTCG))
	case lab.UEFI:
		c.add("-boot", "strict=on") // from what has a place, and nothing else
		c.json("-blockdev", file("efi.code.file", h.Code, true))
		c.json("-blockdev", map[string]any{"driver": "raw", "node-name": "efi.code", "file": "efi.code.file", "read-only": true})
		c.json("-blockdev", file("efi.vars.file", ds.vars(d.Machine), false))
		c.json("-blockdev", map[string]any{"driver": "raw", "node-name": "efi.vars", "file": "efi.vars.file"})
		c.add("-machine", "pflash0=efi.code,pflash1=efi.vars")
		if d.HTTP { // else it first waits two minutes for a server of the other kind (edk2, OvmfPkg/Library/PxeBcPcdProducerLib)
			c.add("-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
		}
	default:
		c.add("-boot", "strict=on")
	}
	if d.Attrs.Arch == lab.AMD64 {
		c.add("-smbios", "type=1,manufacturer=labctl,product=labctl,serial=ds=nocloud")
	}
}

// sockets are the two monitors (one for changes, one for looking) and the serial console with its log.
func (c *cmdline) sockets(d definition, ds dirs) {
	for _, m := range []struct{ id, path string }{{"qmp", ds.qmp(d.Machine)}, {"look", ds.look(d.Machine)}} {
		c.add("-chardev", "socket,id="+m.id+",path="+comma(m.path)+",server=on,wait=off")
		c.add("-mon", "chardev="+m.id+",mode=control")
	}
	goesOn := ""
	if d.Layout != nil { // it is still the same start
		goesOn = ",logappend=on"
	}
	c.add("-chardev", "socket,id=serial,path="+comma(ds.serial(d.Machine))+",server=on,wait=off,logfile="+comma(ds.console(d.Machine))+goesOn)
	c.add("-serial", "chardev:serial")
}

// bridges are the ports that NICs and data disks are plugged into, eight to a slot.
func (c *cmdline) bridges(n int) {
	const firstSlot = 0x10
	for i := range n {
		at := fmt.Sprintf("0x%x.%d", firstSlot+i/8, i%8)
		multi := ""
		if i%8 == 0 {
			multi = ",multifunction=on"
		}
		c.add("-device", fmt.Sprintf("pcie-root-port,id=%s,bus=pcie.0,chassis=%d,addr=%s%s", bridge(i), i+1, at, multi))
	}
}

// port is where a device is plugged in: where it was, if that is said, else number i.
func (d definition) port(device string, i int) string {
	if d.Layout != nil && d.Layout.At[device] != "" {
		return d.Layout.At[device]
	}
	return bridge(i)
}

func bridge(i int) string { return fmt.Sprintf("port%d", i) }

// disks are the root disk, the seed and the data disks. Under firmware "kernel" the first two are NVMe, for which
// Debian's cloud kernel needs neither a module nor an initrd, on one controller, so that their names are certain
// (nvme0n1, nvme0n2). Any other firmware's image has a driver for virtio.
func (c *cmdline) disks(d definition, ds dirs) {
	seed := ds.seed(d.Machine)
	nvme := d.Attrs.Firmware == lab.Kernel
	if nvme {
		c.add("-device", "nvme,id=nvme,serial=labctl,bus=pcie.0,addr=0x4")
	}
	for i, name := range d.Attrs.Disks {
		c.json("-blockdev", diskNode(ds, d.Machine, name))
		switch {
		case i == 0 && nvme:
			c.json("-device", map[string]any{"driver": "nvme-ns", "id": diskID(i, name), "drive": node(name), "bus": "nvme", "nsid": 1})
		case i == 0:
			root := map[string]any{"driver": "virtio-blk-pci", "id": diskID(i, name), "drive": node(name), "bus": "pcie.0", "addr": "0x4"}
			if d.Installs {
				root["serial"] = rootSerial
			}
			c.json("-device", d.Attrs.bootable(fromDisk, root))
		default:
			c.json("-device", diskDevice(name, d.port(diskID(i, name), len(d.Attrs.NICs)+i-1)))
		}
	}
	if d.Installs {
		return
	}
	c.json("-blockdev", file("seed", seed, true))
	if nvme {
		c.json("-device", map[string]any{"driver": "nvme-ns", "id": "seed", "drive": "seed", "bus": "nvme", "nsid": 2})
		return
	}
	c.json("-device", map[string]any{"driver": "virtio-blk-pci", "id": "seed", "drive": "seed", "bus": "pcie.0", "addr": "0x5"})
}

// node is a disk's name in QEMU's block layer, where names have at most 31 characters.
func node(disk string) string { return "disk-" + key(disk) }

// diskID is a disk's name as a device; the root's says so, so that a live process can be asked which it is.
func diskID(i int, name string) string {
	if i == 0 {
		return "root." + name
	}
	return "disk." + name
}

func diskNode(ds dirs, machine, disk string) map[string]any {
	return map[string]any{
		"driver": "qcow2", "node-name": node(disk), "discard": "unmap",
		"file": map[string]any{"driver": "file", "filename": ds.disk(machine, disk), "discard": "unmap"},
	}
}

// diskDevice is a data disk; its serial is how the guest finds it (/dev/disk/by-id/virtio-<name>).
func diskDevice(disk, bus string) map[string]any {
	return map[string]any{"driver": "virtio-blk-pci", "id": diskID(1, disk), "drive": node(disk), "bus": bus, "serial": short(disk)}
}

func nicDevice(a machineAttrs, n nic, bus string) map[string]any {
	dev := map[string]any{"driver": "virtio-net-pci", "id": "nic." + n.Network, "netdev": "net." + n.Network, "mac": n.MAC, "bus": bus}
	if mtu := a.MTU[n.Network]; mtu != 0 {
		dev["host_mtu"] = mtu
	}
	return a.bootable(fromNetwork+n.Network, dev)
}

func file(node, path string, readOnly bool) map[string]any {
	m := map[string]any{"driver": "file", "node-name": node, "filename": path}
	if readOnly {
		m["read-only"] = true
	}
	return m
}

// short keeps the first 20 bytes, the length of a virtio disk's serial number.
func short(s string) string { return s[:min(len(s), 20)] }

// comma doubles commas, as QEMU's option parser wants them.
func comma(s string) string { return strings.ReplaceAll(s, ",", ",,") }

func (ds dirs) vars(machine string) string { return filepath.Join(ds.machine(machine), "vars.fd") }
func (ds dirs) seed(machine string) string { return filepath.Join(ds.machine(machine), "seed.iso") }
func (ds dirs) console(machine string) string {
	return filepath.Join(ds.machine(machine), "console.log")
}
func (ds dirs) log(machine string) string { return filepath.Join(ds.machine(machine), "qemu.log") }
