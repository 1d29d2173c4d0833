package qemu

import (
	"encoding/binary"
	"io"
	"os"

	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// maxTable is how long a table of snapshots may be, in bytes: QEMU's own limit.
const maxTable = 64 << 20

// snapshotTags are the names of the snapshots in a qcow2 file, as its table of them says. It is read also while a process
// has the file open: that writes the table at once.
func snapshotTags(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, failure.File(err)
	}
	defer f.Close()
	corrupt := &provider.Error{Code: provider.Corrupt, Text: path + ": its table of snapshots makes no sense"}
	head := make([]byte, 72)
	if _, err := io.ReadFull(f, head); err != nil || string(head[:4]) != "QFI\xfb" {
		return nil, &provider.Error{Code: provider.Corrupt, Text: path + " is no qcow2 file"}
	}
	n, at := binary.BigEndian.Uint32(head[60:]), binary.BigEndian.Uint64(head[64:])
	if at > 1<<62 || n > 1<<16 {
		return nil, corrupt
	}
	table := io.NewSectionReader(f, int64(at), maxTable)
	var tags []string
	for range n {
		// Offsets in an entry: 12 length of the id, 14 of the name, 36 of the extra data, 40 these three.
		entry := make([]byte, 40)
		if _, err := io.ReadFull(table, entry); err != nil {
			return nil, corrupt
		}
		id, name := int64(binary.BigEndian.Uint16(entry[12:])), int64(binary.BigEndian.Uint16(entry[14:]))
		extra := int64(binary.BigEndian.Uint32(entry[36:]))
		if extra > maxTable {
			return nil, corrupt
		}
		if _, err := table.Seek(extra+id, io.SeekCurrent); err != nil {
			return nil, corrupt
		}
		tag := make([]byte, name)
		if _, err := io.ReadFull(table, tag); err != nil {
			return nil, corrupt
		}
		tags = append(tags, string(tag))
		if pad := (extra + id + name) % 8; pad != 0 { // entries begin at multiples of 8
			if _, err := table.Seek(8-pad, io.SeekCurrent); err != nil {
				return nil, corrupt
			}
		}
	}
	return tags, nil
}
