package install

import (
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/labctl-dev/labctl/image/gpt"
)

const (
	sector = gpt.Sector
	// headBytes is how much of a disk is kept back until all the rest is written: its table and what BIOSes start. A disk
	// without them does not boot, so that an installation that was cut short is begun anew.
	headBytes = 1 << 20
	align     = headBytes / sector // where partitions begin, in sectors
	// seedMost is the largest seed, in bytes.
	seedMost = 16 << 20
	seedName = "labctl-seed"
)

// linuxData is the type of a partition with data of no special kind (UAPI Discoverable Partitions Specification).
var linuxData = gpt.UUID{0x0f, 0xc6, 0x3d, 0xaf, 0x84, 0x83, 0x47, 0x72, 0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4}

// layout is a disk's table with the image's last partition grown, and a partition for the seed at the end.
type layout struct {
	disk    gpt.UUID
	parts   []gpt.Partition
	sectors uint64 // of the disk
	grown   int    // index of the partition that has the space that was left
	seed    gpt.Partition
}

// arrange makes the layout of a disk of so many sectors from the head of an image. seed is the seed's size in bytes.
func arrange(head []byte, sectors uint64, seed int64) (layout, error) {
	disk, parts, err := gpt.Read(head)
	if err != nil {
		return layout{}, fmt.Errorf("the image: %w", err)
	}
	if len(parts) == 0 {
		return layout{}, fmt.Errorf("the image has no partition")
	}
	l := layout{disk: disk, parts: parts, sectors: sectors}
	used := map[int]bool{}
	for i, p := range parts {
		used[p.Number] = true
		if p.Start > parts[l.grown].Start {
			l.grown = i
		}
	}
	need := (uint64(seed) + sector - 1) / sector
	end := sectors - gpt.Tail // the first sector that is no partition's
	if sectors < gpt.Tail+need+align {
		return layout{}, tooSmall(sectors, parts, need)
	}
	start := (end - need) / align * align
	last := &l.parts[l.grown]
	if start < last.Start+last.Count {
		return layout{}, tooSmall(sectors, parts, need)
	}
	last.Count = start - last.Start
	l.seed = gpt.Partition{Name: seedName, Type: linuxData, Start: start, Count: need}
	for l.seed.Number = 1; used[l.seed.Number]; l.seed.Number++ {
	}
	if l.seed.ID, err = random(); err != nil {
		return layout{}, err
	}
	l.parts = append(l.parts, l.seed)
	return l, nil
}

func tooSmall(sectors uint64, parts []gpt.Partition, seed uint64) error {
	most := slices.MaxFunc(parts, func(a, b gpt.Partition) int { return int(int64(a.Start+a.Count) - int64(b.Start+b.Count)) })
	need := (most.Start+most.Count+align-1)/align*align + (seed+align-1)/align*align + gpt.Tail
	return fmt.Errorf("the disk has %d MiB; the image and the seed need %d MiB", sectors*sector>>20, (need*sector+1<<20-1)>>20)
}

// random is a new UUID (RFC 9562, version 4).
func random() (u gpt.UUID, err error) {
	if _, err = rand.Read(u[:]); err != nil {
		return u, err
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u, nil
}

// table is what the disk begins and ends with. What a BIOS starts, in the first sector of the image's head, stays.
func (l layout) table(head []byte) (first, last []byte, err error) {
	first, last, err = gpt.Table(l.sectors, l.disk, l.parts)
	if err != nil {
		return nil, nil, fmt.Errorf("the disk's new partition table: %w", err)
	}
	copy(first[:bootCode], head[:bootCode])
	return append(first, head[len(first):]...), last, nil
}

// bootCode is how much of the first sector is a program; the rest is the partition table's.
const bootCode = 446
