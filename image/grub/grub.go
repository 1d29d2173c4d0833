// Package grub puts GRUB on a disk that is still a file, as grub-install does to a real one: the few addresses that its
// first two sectors need are patched in. It knows GRUB 2.x for BIOS; with UEFI nothing needs patching.
//
// It must not know how GRUB's images are made, what GRUB is told to boot, or run a program.
package grub

import (
	"encoding/binary"
	"fmt"
)

// Where the addresses are: include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/diskboot.S in GRUB's source.
const (
	sector       = 512
	bootCode     = 440  // what of the first sector is code; the partition table's part follows
	kernelSector = 0x5c // in boot.img: the sector that diskboot.img is in, 8 bytes
	driveCheck   = 0x66 // in boot.img: a jump over a check that only a hard disk needs, 2 bytes
	blockStart   = 500  // in diskboot.img: the first sector of what it loads, 8 bytes,
	blockCount   = 508  // and their count, 2 bytes
)

// Embed writes the boot code into mbr, the disk's first sector, and returns core with the address of its remainder
// filled in. at is the sector on the disk where core will be; room is how many sectors there are for it.
func Embed(mbr, boot, core []byte, at, room uint64) ([]byte, error) {
	if len(mbr) != sector || len(boot) != sector {
		return nil, fmt.Errorf("boot sector of %d bytes and GRUB boot image of %d bytes: both must have %d", len(mbr), len(boot), sector)
	}
	sectors := uint64(len(core)+sector-1) / sector
	if sectors < 2 || sectors > room || sectors > 0xffff {
		return nil, fmt.Errorf("GRUB core image of %d bytes: does not fit into %d sectors", len(core), room)
	}
	copy(mbr[:bootCode], boot)
	binary.LittleEndian.PutUint64(mbr[kernelSector:], at)
	mbr[driveCheck], mbr[driveCheck+1] = 0x90, 0x90 // no-operation: the check is made
	out := make([]byte, sectors*sector)
	copy(out, core)
	binary.LittleEndian.PutUint64(out[blockStart:], at+1)
	binary.LittleEndian.PutUint16(out[blockCount:], uint16(sectors-1))
	return out, nil
}
