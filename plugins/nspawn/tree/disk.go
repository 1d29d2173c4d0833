package tree

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"
)

// part is a piece of a disk, in bytes.
type part struct{ offset, size int64 }

const (
	sector   = 512
	maxParts = 256
)

// root is the largest partition of a disk, or all of a disk without partitions.
func root(disk string) (part, error) {
	f, err := os.Open(disk)
	if err != nil {
		return part{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return part{}, err
	}
	head := make([]byte, 2*sector)
	if _, err := io.ReadFull(f, head); err != nil {
		return part{}, fmt.Errorf("it is too short")
	}
	switch {
	case string(head[sector:sector+8]) == "EFI PART":
		return largest(f, head[sector:])
	case head[510] == 0x55 && head[511] == 0xaa && !bytes.Equal(head[446:510], make([]byte, 64)):
		return largestMBR(head)
	}
	return part{0, st.Size()}, nil
}

// largest reads a GUID partition table (UEFI specification 2.10, 5.3).
func largest(f io.ReaderAt, head []byte) (part, error) {
	at := int64(binary.LittleEndian.Uint64(head[72:])) * sector
	n, size := binary.LittleEndian.Uint32(head[80:]), binary.LittleEndian.Uint32(head[84:])
	if n > maxParts || size < 128 || size > 4096 {
		return part{}, fmt.Errorf("its partition table makes no sense: %d entries of %d bytes", n, size)
	}
	table := make([]byte, n*size)
	if _, err := f.ReadAt(table, at); err != nil {
		return part{}, fmt.Errorf("its partition table cannot be read: %w", err)
	}
	best := part{}
	for i := range n {
		e := table[i*size:]
		first, last := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		if bytes.Equal(e[:16], make([]byte, 16)) || last < first {
			continue
		}
		if p := (part{int64(first) * sector, int64(last-first+1) * sector}); p.size > best.size {
			best = p
		}
	}
	if best.size == 0 {
		return part{}, fmt.Errorf("it has no partitions")
	}
	return best, nil
}

// largestMBR reads the four entries of a partition table as the PC's BIOS knows it.
func largestMBR(head []byte) (part, error) {
	best := part{}
	for i := range 4 {
		e := head[446+16*i:]
		first, n := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if p := (part{int64(first) * sector, int64(n) * sector}); p.size > best.size {
			best = p
		}
	}
	if best.size == 0 {
		return part{}, fmt.Errorf("it has no partitions")
	}
	return best, nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
