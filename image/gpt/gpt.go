// Package gpt writes a GUID partition table with its protective MBR, as bytes, and reads it: UEFI specification 2.10,
// chapter 5.
//
// It must not know what is in a partition, or how a computer boots from one.
package gpt

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

// The sizes of a table, in bytes and sectors.
const (
	Sector  = 512
	entries = 128
	entry   = 128
	// Head and Tail are how many sectors at the disk's two ends belong to the table.
	Head = 2 + entries*entry/Sector
	Tail = Head - 1
)

// UUID is a GUID in the byte order in which it is written as text (RFC 9562).
type UUID [16]byte

func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// mixed is u in the byte order of a GPT: the first three fields little-endian.
func (u UUID) mixed() []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

// Partition types: UEFI 2.10 table 5.7; "Hah!IdontNeedEFI" by GRUB; roots by the UAPI Discoverable Partitions
// Specification.
var (
	ESP       = UUID{0xc1, 0x2a, 0x73, 0x28, 0xf8, 0x1f, 0x11, 0xd2, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}
	BIOSBoot  = UUID{0x21, 0x68, 0x61, 0x48, 0x64, 0x49, 0x6e, 0x6f, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49}
	RootAMD64 = UUID{0x4f, 0x68, 0xbc, 0xe3, 0xe8, 0xcd, 0x4d, 0xb1, 0x96, 0xe7, 0xfb, 0xca, 0xf9, 0x84, 0xb7, 0x09}
	RootARM64 = UUID{0xb9, 0x21, 0xb0, 0x45, 0x1d, 0xf0, 0x41, 0xc3, 0xaf, 0x44, 0x4c, 0x6f, 0x28, 0x0d, 0x3f, 0xae}
)

// Partition is one entry of the table.
type Partition struct {
	Number int    // 1 to 128: its place in the table, not on the disk
	Name   string // up to 36 UTF-16 units
	Type   UUID
	ID     UUID // PARTUUID in Linux's terms
	Start  uint64
	Count  uint64 // sectors
	Flags  uint64 // attributes; bit 2 makes some BIOSes boot from it
}

// Table is what a disk of so many sectors begins and ends with: Head and Tail sectors. Partitions outside the space
// between them, or overlapping, are an error.
func Table(sectors uint64, disk UUID, parts []Partition) (head, tail []byte, err error) {
	if sectors < Head+Tail+1 {
		return nil, nil, fmt.Errorf("a disk of %d sectors is too small for a partition table", sectors)
	}
	array := make([]byte, entries*entry)
	for i, p := range parts {
		if err := check(p, sectors, parts[:i]); err != nil {
			return nil, nil, err
		}
		put(array[(p.Number-1)*entry:], p)
	}
	head = append(protective(sectors), header(1, sectors-1, 2, sectors, disk, array)...)
	head = append(head, array...)
	tail = append(tail, array...)
	tail = append(tail, header(sectors-1, 1, sectors-Tail, sectors, disk, array)...)
	return head, tail, nil
}

func check(p Partition, sectors uint64, before []Partition) error {
	if p.Number < 1 || p.Number > entries {
		return fmt.Errorf("partition number %d is not in 1 to %d", p.Number, entries)
	}
	if p.Count == 0 || p.Start < Head || p.Start+p.Count > sectors-Tail || p.Start+p.Count < p.Start {
		return fmt.Errorf("partition %d (sectors %d to %d) is outside the disk's usable sectors %d to %d",
			p.Number, p.Start, p.Start+p.Count-1, Head, sectors-Tail-1)
	}
	for _, b := range before {
		if b.Number == p.Number || p.Start < b.Start+b.Count && b.Start < p.Start+p.Count {
			return fmt.Errorf("partitions %d and %d collide", b.Number, p.Number)
		}
	}
	return nil
}

func put(b []byte, p Partition) {
	copy(b, p.Type.mixed())
	copy(b[16:], p.ID.mixed())
	binary.LittleEndian.PutUint64(b[32:], p.Start)
	binary.LittleEndian.PutUint64(b[40:], p.Start+p.Count-1)
	binary.LittleEndian.PutUint64(b[48:], p.Flags)
	for i, u := range utf16.Encode([]rune(p.Name)) {
		if i < 36 {
			binary.LittleEndian.PutUint16(b[56+2*i:], u)
		}
	}
}

// protective is an MBR whose one partition covers the disk, so that tools that know no GPT see no free space. BIOSes
// exist that boot only from a disk with an active partition; the specification forbids one here, and GRUB's own
// installer leaves it out too.
func protective(sectors uint64) []byte {
	b := make([]byte, Sector)
	p := b[446:]
	p[2] = 0x02 // first sector as cylinder, head, sector
	p[4] = 0xee
	p[5], p[6], p[7] = 0xff, 0xff, 0xff
	binary.LittleEndian.PutUint32(p[8:], 1)
	binary.LittleEndian.PutUint32(p[12:], uint32(min(sectors-1, 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

func header(self, other, array, sectors uint64, disk UUID, table []byte) []byte {
	b := make([]byte, Sector)
	copy(b, "EFI PART")
	le := binary.LittleEndian
	le.PutUint32(b[8:], 0x00010000) // revision 1.0
	le.PutUint32(b[12:], 92)        // bytes in this header
	le.PutUint64(b[24:], self)
	le.PutUint64(b[32:], other)
	le.PutUint64(b[40:], Head)
	le.PutUint64(b[48:], sectors-Tail-1)
	copy(b[56:], disk.mixed())
	le.PutUint64(b[72:], array)
	le.PutUint32(b[80:], entries)
	le.PutUint32(b[84:], entry)
	le.PutUint32(b[88:], crc32.ChecksumIEEE(table))
	le.PutUint32(b[16:], crc32.ChecksumIEEE(b[:92]))
	return b
}
