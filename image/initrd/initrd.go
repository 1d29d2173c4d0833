// Package initrd writes the first root file system of a Linux, as the kernel takes it: a cpio archive in the format
// "newc", gzip-compressed (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
//
// It must not know what starts in it.
package initrd

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// File is a regular file. Folders on the way to it are made, mode 0755.
type File struct {
	Path    string // absolute
	Mode    uint32 // permissions
	Content []byte
}

// most is the largest file that the format can hold, in bytes.
const most = 1<<32 - 1

// Write writes the archive. Equal files make equal bytes; their order does not matter.
func Write(w io.Writer, files []File) error {
	z, err := gzip.NewWriterLevel(w, gzip.BestCompression)
	if err != nil {
		return err
	}
	a := archive{w: z, made: map[string]bool{"/": true, ".": true}}
	files = slices.SortedFunc(slices.Values(files), func(x, y File) int { return strings.Compare(x.Path, y.Path) })
	for _, f := range files {
		if !path.IsAbs(f.Path) || path.Clean(f.Path) != f.Path || int64(len(f.Content)) > most {
			return fmt.Errorf("initrd: %q cannot be a file of it", f.Path)
		}
		a.folders(path.Dir(f.Path))
		a.add(f.Path, modeFile|f.Mode, f.Content)
	}
	a.add("/TRAILER!!!", 0, nil)
	if a.err != nil {
		return a.err
	}
	return z.Close()
}

// Types of entries, as in st_mode.
const (
	modeFile = 0o100000
	modeDir  = 0o040000
)

type archive struct {
	w     io.Writer
	made  map[string]bool
	count int
	err   error // the first
}

func (a *archive) folders(dir string) {
	if a.made[dir] {
		return
	}
	a.made[dir] = true
	a.folders(path.Dir(dir))
	a.add(dir, modeDir|0o755, nil)
}

func (a *archive) add(name string, mode uint32, content []byte) {
	name = strings.TrimPrefix(name, "/")
	a.count++
	links := 1
	var b bytes.Buffer
	b.WriteString("070701")
	// inode, mode, uid, gid, links, mtime, size, device, special device, length of the name with its NUL, checksum
	for _, n := range []int64{int64(a.count), int64(mode), 0, 0, int64(links), 0, int64(len(content)), 0, 0, 0, 0, int64(len(name) + 1), 0} {
		fmt.Fprintf(&b, "%08X", n)
	}
	b.WriteString(name)
	b.WriteByte(0)
	pad(&b, b.Len())
	b.Write(content)
	pad(&b, len(content))
	if _, err := a.w.Write(b.Bytes()); err != nil && a.err == nil {
		a.err = err
	}
}

// pad fills up to four bytes.
func pad(b *bytes.Buffer, n int) { b.Write(make([]byte, (4-n%4)%4)) }
