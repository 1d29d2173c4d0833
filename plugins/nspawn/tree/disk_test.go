package tree

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// TestRoot finds the root file system on disks with either partition table and with none.
func TestRoot(t *testing.T) {
	gpt := make([]byte, 40*sector)
	copy(gpt[sector:], "EFI PART")
	binary.LittleEndian.PutUint64(gpt[sector+72:], 2)
	binary.LittleEndian.PutUint32(gpt[sector+80:], 4)
	binary.LittleEndian.PutUint32(gpt[sector+84:], 128)
	for i, p := range [][2]uint64{{34, 35}, {36, 39}} {
		e := gpt[2*sector+128*i:]
		e[0] = 1
		binary.LittleEndian.PutUint64(e[32:], p[0])
		binary.LittleEndian.PutUint64(e[40:], p[1])
	}
	mbr := make([]byte, 40*sector)
	mbr[510], mbr[511] = 0x55, 0xaa
	binary.LittleEndian.PutUint32(mbr[446+8:], 8)
	binary.LittleEndian.PutUint32(mbr[446+12:], 30)
	absurd := append([]byte(nil), gpt...)
	binary.LittleEndian.PutUint32(absurd[sector+80:], 1<<30)
	for name, c := range map[string]struct {
		disk []byte
		want part
		bad  bool
	}{
		"gpt":    {gpt, part{36 * sector, 4 * sector}, false},
		"mbr":    {mbr, part{8 * sector, 30 * sector}, false},
		"none":   {make([]byte, 40*sector), part{0, 40 * sector}, false},
		"short":  {make([]byte, 100), part{}, true},
		"absurd": {absurd, part{}, true},
	} {
		file := filepath.Join(t.TempDir(), "disk")
		if err := os.WriteFile(file, c.disk, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := root(file)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, c.want)
		}
	}
}
