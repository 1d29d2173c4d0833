package grub_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/labctl-dev/labctl/image/grub"
)

func TestEmbed(t *testing.T) {
	mbr := make([]byte, 512)
	mbr[446], mbr[511] = 0x42, 0xaa
	boot := bytes.Repeat([]byte{1}, 512)
	core := bytes.Repeat([]byte{2}, 3*512+7)
	out, err := grub.Embed(mbr, boot, core, 2048, 2048)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if le.Uint64(mbr[0x5c:]) != 2048 || mbr[0x66] != 0x90 || mbr[0x67] != 0x90 || mbr[0] != 1 || mbr[439] != 1 {
		t.Errorf("boot sector: % x", mbr[:0x70])
	}
	if mbr[440] != 0 || mbr[446] != 0x42 || mbr[511] != 0xaa {
		t.Error("the partition table's part of the boot sector was written to")
	}
	if len(out) != 4*512 || le.Uint64(out[500:]) != 2049 || le.Uint16(out[508:]) != 3 || out[510] != 2 {
		t.Errorf("core of %d bytes loads %d sectors from %d", len(out), le.Uint16(out[508:]), le.Uint64(out[500:]))
	}
	if core[500] != 2 {
		t.Error("the caller's core was written to")
	}
	for name, sizes := range map[string][3]int{"small boot": {440, 2048, 8}, "no core": {512, 512, 8}, "no room": {512, 5000, 8}} {
		if _, err := grub.Embed(mbr, make([]byte, sizes[0]), make([]byte, sizes[1]), 1, uint64(sizes[2])); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
