package libvirt

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/image"
)

// domainName is what a machine is called on the host. It may be another lab's name for another machine: whose a
// domain is, its mark says.
func domainName(lab, machine string) string { return lab + "-" + machine }

// networkName is what a network is called on the host.
func networkName(lab, network string) string { return lab + "-" + network }

// bridgeName is the name of a network's bridge: at most 15 bytes (Linux IFNAMSIZ), and the same every time.
func bridgeName(lab, network string) string {
	h := sha256.Sum256([]byte("bridge\x00" + lab + "\x00" + network))
	return "lab" + hex.EncodeToString(h[:])[:9]
}

// uuid is the UUID of a thing that we make (RFC 9562, version 8), so that it is the same one when it is made again.
func uuid(kind, lab, name string) libvirt.UUID {
	h := sha256.Sum256([]byte("uuid\x00" + kind + "\x00" + lab + "\x00" + name))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return libvirt.UUID(h[:16])
}

func uuidText(u libvirt.UUID) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// The names of volumes are their mark: <lab>--<machine>--<disk>.qcow2. Labels may hold hyphens, even two in a row; a
// dot between those, which no label has, keeps the parts apart.
const (
	between    = "--"
	diskSuffix = ".qcow2"
	seedSuffix = "--seed.iso"
	logSuffix  = "--console.log"
	varsSuffix = "--nvram.fd"
)

// at stands in the names of volumes that keep something before what it is called: no label has it, so that no other
// volume's name does.
const at = "@"

func escape(label string) string {
	for strings.Contains(label, between) {
		label = strings.ReplaceAll(label, between, "-.-")
	}
	return label
}

func unescape(part string) string {
	for strings.Contains(part, "-.-") {
		part = strings.ReplaceAll(part, "-.-", between)
	}
	return part
}

// prefix is how the names of all volumes of a lab begin.
func prefix(lab string) string { return escape(lab) + between }

func diskVolume(lab, machine, disk string) string {
	return prefix(lab) + escape(machine) + between + escape(disk) + diskSuffix
}

func seedVolume(lab, machine string) string { return prefix(lab) + escape(machine) + seedSuffix }
func logVolume(lab, machine string) string  { return prefix(lab) + escape(machine) + logSuffix }

// varsVolume has a machine's UEFI variables. libvirt makes it, behind the back of its storage pool.
func varsVolume(lab, machine string) string { return prefix(lab) + escape(machine) + varsSuffix }

// apart says whether a volume of a lab is none of the disks that it has now.
func apart(volume string) bool {
	return strings.Contains(volume, at) || strings.HasSuffix(volume, seedSuffix) || strings.HasSuffix(volume, logSuffix) || strings.HasSuffix(volume, varsSuffix)
}

// parseDisk is the reverse of diskVolume for volumes of one lab. What follows a disk's name, as an external snapshot's
// does ("...--root.snap1"), stays part of it, so that no volume of ours goes unseen.
func parseDisk(lab, volume string) (machine, disk string, ok bool) {
	rest, ours := strings.CutPrefix(volume, prefix(lab))
	if !ours || apart(volume) {
		return "", "", false
	}
	m, d, ok := strings.Cut(rest, between)
	if !ok || m == "" || d == "" {
		return "", "", false
	}
	return unescape(m), unescape(strings.TrimSuffix(d, diskSuffix)), true
}

// The names of the volumes of a snapshot: a disk's, UEFI variables', and the one that says what there is and is written
// last.
func diskKept(lab, machine, disk, snapshot string) string {
	return strings.TrimSuffix(diskVolume(lab, machine, disk), diskSuffix) + at + snapshot + diskSuffix
}

func varsKept(lab, machine, snapshot string) string {
	return strings.TrimSuffix(varsVolume(lab, machine), ".fd") + at + snapshot + ".fd"
}

func listKept(lab, snapshot string) string { return prefix(lab) + at + snapshot + ".json" }

// parseKept is the snapshot of a lab that a volume is a part of.
func parseKept(lab, volume string) (snapshot string, ok bool) {
	rest, ours := strings.CutPrefix(volume, prefix(lab))
	_, rest, ok = strings.Cut(rest, at)
	return strings.TrimSuffix(rest, path.Ext(rest)), ours && ok
}

// How the names of an image's volumes begin, and how that of its mark ends.
const (
	imagePrefix = "labctl-image-"
	wholeMark   = "whole"
)

// imageVolume is the base volume of an image, shared by all labs on the host.
func imageVolume(id string) string { return imageFile(id, "qcow2") }

// imageMark is an empty volume that is made when all of an image has arrived: without it the others are not whole.
func imageMark(id string) string { return imageFile(id, wholeMark) }

// imageFile is another part of an image: its "vmlinuz", "initrd" or "cmdline".
func imageFile(id, part string) string { return imagePrefix + image.Short(id) + "." + part }

// plain says whether a volume is no disk.
func plain(volume string) bool {
	return apart(volume) || strings.HasPrefix(volume, imagePrefix) && !strings.HasSuffix(volume, diskSuffix)
}
