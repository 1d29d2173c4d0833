package gpt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"unicode/utf16"
)

// Read is the table that a disk begins with: head are at least its first Head sectors. Partitions are in the order of
// their numbers. A table that Table would not write (sectors of another size, more entries) is an error, as is one whose
// sums are wrong.
func Read(head []byte) (disk UUID, parts []Partition, err error) {
	if len(head) < Head*Sector {
		return disk, nil, fmt.Errorf("%d bytes are too few for a partition table, which has %d", len(head), Head*Sector)
	}
	le := binary.LittleEndian
	h, array := slices.Clone(head[Sector:2*Sector]), head[2*Sector:Head*Sector]
	if string(h[:8]) != "EFI PART" {
		return disk, nil, fmt.Errorf("there is no GUID partition table")
	}
	if size, n, each := le.Uint32(h[12:]), le.Uint32(h[80:]), le.Uint32(h[84:]); size != 92 || n != entries || each != entry || le.Uint64(h[72:]) != 2 {
		return disk, nil, fmt.Errorf("the partition table has %d entries of %d bytes at sector %d; it must have %d of %d at 2", n, each, le.Uint64(h[72:]), entries, entry)
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if sum != crc32.ChecksumIEEE(h[:92]) || le.Uint32(h[88:]) != crc32.ChecksumIEEE(array) {
		return disk, nil, fmt.Errorf("the partition table's checksum is wrong")
	}
	for i := range entries {
		if p := take(array[i*entry : (i+1)*entry]); p.Type != (UUID{}) {
			p.Number = i + 1
			parts = append(parts, p)
		}
	}
	return unmixed(h[56:]), parts, nil
}

func take(b []byte) Partition {
	le := binary.LittleEndian
	p := Partition{Type: unmixed(b), ID: unmixed(b[16:]), Start: le.Uint64(b[32:]), Flags: le.Uint64(b[48:])}
	p.Count = le.Uint64(b[40:]) - p.Start + 1
	var name []uint16
	for i := 56; i < entry; i += 2 {
		if u := le.Uint16(b[i:]); u != 0 {
			name = append(name, u)
		}
	}
	p.Name = string(utf16.Decode(name))
	return p
}

// unmixed is the reverse of mixed, which is its own.
func unmixed(b []byte) UUID { return UUID(UUID(b[:16]).mixed()) }
