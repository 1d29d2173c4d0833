package gpt_test

import (
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image/gpt"
)

const size = 64 << 11 // sectors: 64 MiB

var parts = []gpt.Partition{
	{Number: 1, Name: "root", Type: gpt.RootAMD64, ID: gpt.UUID{15: 1}, Start: 40960, Count: size - 40960 - 2048},
	{Number: 15, Name: "esp", Type: gpt.ESP, ID: gpt.UUID{15: 2}, Start: 4096, Count: 32768},
	{Number: 14, Name: "bios", Type: gpt.BIOSBoot, ID: gpt.UUID{15: 3}, Start: 2048, Count: 2048},
}

// TestTable checks the bytes against the specification's own terms: signatures, places, sums.
func TestTable(t *testing.T) {
	head, tail, err := gpt.Table(size, gpt.UUID{15: 9}, parts)
	if err != nil {
		t.Fatal(err)
	}
	if len(head) != gpt.Head*gpt.Sector || len(tail) != gpt.Tail*gpt.Sector {
		t.Fatalf("head and tail have %d and %d bytes", len(head), len(tail))
	}
	le := binary.LittleEndian
	if head[510] != 0x55 || head[511] != 0xaa || head[446+4] != 0xee || le.Uint32(head[446+12:]) != size-1 {
		t.Error("no protective MBR over the whole disk")
	}
	front, back := head[512:1024], tail[len(tail)-512:]
	array := head[1024:]
	for name, h := range map[string][]byte{"first": front, "second": back} {
		if string(h[:8]) != "EFI PART" {
			t.Fatalf("%s header has no signature", name)
		}
		sum := le.Uint32(h[16:])
		copyOf := append([]byte(nil), h[:92]...)
		copy(copyOf[16:20], make([]byte, 4))
		if sum != crc32.ChecksumIEEE(copyOf) || le.Uint32(h[88:]) != crc32.ChecksumIEEE(array) {
			t.Errorf("%s header: wrong checksum", name)
		}
	}
	if le.Uint64(front[24:]) != 1 || le.Uint64(front[32:]) != size-1 || le.Uint64(back[24:]) != size-1 || le.Uint64(back[72:]) != size-33 {
		t.Error("headers do not point to each other")
	}
	// "C12A7328-..." is stored as 28 73 2a c1.
	if e := array[14*128:]; e[0] != 0x28 || e[3] != 0xc1 || e[31] != 2 || le.Uint64(e[32:]) != 4096 || le.Uint64(e[40:]) != 4096+32768-1 || e[56] != 'e' {
		t.Errorf("entry 15 is % x", e[:64])
	}
}

func TestTableRefuses(t *testing.T) {
	for name, p := range map[string][]gpt.Partition{
		"overlap":        {parts[0], {Number: 2, Start: 50000, Count: 1}},
		"same number":    {parts[0], {Number: 1, Start: 2048, Count: 1}},
		"over the table": {{Number: 1, Start: 33, Count: 1}},
		"over the end":   {{Number: 1, Start: 2048, Count: size - 2048}},
		"number 0":       {{Number: 0, Start: 2048, Count: 1}},
		"empty":          {{Number: 1, Start: 2048, Count: 0}},
		"overflow":       {{Number: 1, Start: 2048, Count: 1<<64 - 1}},
	} {
		if _, _, err := gpt.Table(size, gpt.UUID{}, p); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, _, err := gpt.Table(66, gpt.UUID{}, nil); err == nil {
		t.Error("a disk without room is accepted")
	}
}

// TestJudge asks programs that others wrote; those that are not installed are not asked.
func TestJudge(t *testing.T) {
	head, tail, err := gpt.Table(size, gpt.UUID{15: 9}, parts)
	if err != nil {
		t.Fatal(err)
	}
	disk := append(append(head, make([]byte, (size-gpt.Head-gpt.Tail)*gpt.Sector)...), tail...)
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, disk, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, judge := range []struct {
		args []string
		want []string
	}{
		{[]string{"partx", "-o", "NR,START,SECTORS,NAME,TYPE", "-g", name}, []string{"40960", "root", "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "21686148-6449-6e6f-744e-656564454649"}},
		{[]string{"sfdisk", "--verify", name}, []string{"No errors detected"}},
		{[]string{"sgdisk", "-v", name}, []string{"No problems found"}},
	} {
		path, err := exec.LookPath(judge.args[0])
		if err != nil {
			continue
		}
		out, err := exec.Command(path, judge.args[1:]...).CombinedOutput()
		for _, w := range judge.want {
			if err != nil || !strings.Contains(string(out), w) {
				t.Errorf("%s: %v, and does not say %q:\n%s", judge.args[0], err, w, out)
			}
		}
	}
}
