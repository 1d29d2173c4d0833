// Package format tells disk image formats apart by their content, and refuses those that reach beyond their own file.
//
// It must not know where an image comes from or what it will be used for.
package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/labctl-dev/labctl/lab"
)

// Kind is what a file is.
type Kind string

// The kinds that can become an image.
const (
	Qcow2 Kind = "qcow2"
	Raw   Kind = "raw"
	Gzip  Kind = "gz"
	Xz    Kind = "xz"
	Zstd  Kind = "zst"
)

// Info is what the first bytes of a file say.
type Info struct {
	Kind Kind
	Size lab.Bytes // of the disk as a machine sees it; 0 where something compressed hides it
}

var magics = []struct {
	text string
	kind Kind
	name string // of a kind that is refused
}{
	{"QFI\xfb", Qcow2, ""},
	{"\x1f\x8b", Gzip, ""},
	{"\xfd7zXZ\x00", Xz, ""},
	{"\x28\xb5\x2f\xfd", Zstd, ""},
	{"KDMV", "", "a VMDK image"},
	{"# Disk DescriptorFile", "", "a VMDK descriptor"},
	{"vhdxfile", "", "a VHDX image"},
	{"conectix", "", "a VHD image"},
	{"QED\x00", "", "a QED image"},
	{"<<< Oracle VM VirtualBox", "", "a VDI image"},
	{"PK\x03\x04", "", "a zip archive"},
	{"BZh", "", "compressed with bzip2"},
}

// Detect reads the first bytes of a file of that many bytes. An error says what the file is and why it is no use.
func Detect(f io.ReaderAt, size int64) (Info, error) {
	head := make([]byte, 64<<10)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return Info{}, err
	}
	head = head[:n]
	for _, m := range magics {
		switch {
		case !bytes.HasPrefix(head, []byte(m.text)):
		case m.kind == Qcow2:
			return qcow2(head)
		case m.kind != "":
			return Info{Kind: m.kind}, nil
		default:
			return Info{}, fmt.Errorf("is %s; qcow2 and raw images, plain or compressed with gzip, xz or zstd, can be used", m.name)
		}
	}
	if len(head) > 0x8006 && string(head[0x8001:0x8006]) == "CD001" && !bytes.HasPrefix(head[512:], []byte("EFI PART")) {
		return Info{}, errors.New("is an ISO image of an installer, not of a disk")
	}
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xaa {
		return Info{}, errors.New("is no disk image: neither a known format nor a disk with a boot sector")
	}
	return Info{Raw, lab.Bytes(size)}, nil
}

// The header of qcow2: docs/interop/qcow2.txt in QEMU's source. All numbers are big-endian.
const (
	version      = 4
	backing      = 8
	virtualSize  = 24
	encryption   = 32
	incompatible = 72
	headerBytes  = 104
	externalData = 1 << 2
	corruptBit   = 1 << 1
)

// qcow2 refuses what would make QEMU open other files on this host: that is how a downloaded image reads somebody's
// secrets.
func qcow2(b []byte) (Info, error) {
	if len(b) < headerBytes {
		return Info{}, errors.New("is a qcow2 image without a whole header")
	}
	be := binary.BigEndian
	v := be.Uint32(b[version:])
	switch {
	case v != 2 && v != 3:
		return Info{}, fmt.Errorf("is a qcow2 image of version %d; 2 and 3 can be used", v)
	case be.Uint64(b[backing:]) != 0:
		return Info{}, errors.New("is a qcow2 image with a backing file: it would read another file of this host")
	case be.Uint32(b[encryption:]) != 0:
		return Info{}, errors.New("is an encrypted qcow2 image")
	}
	if v == 3 {
		switch f := be.Uint64(b[incompatible:]); {
		case f&externalData != 0:
			return Info{}, errors.New("is a qcow2 image with an external data file: it would read another file of this host")
		case f&corruptBit != 0:
			return Info{}, errors.New("is a qcow2 image that is marked as corrupt")
		}
	}
	size := lab.Bytes(be.Uint64(b[virtualSize:]))
	if size == 0 || size > 1<<62 {
		return Info{}, fmt.Errorf("is a qcow2 image of %d bytes", uint64(size))
	}
	return Info{Qcow2, size}, nil
}
