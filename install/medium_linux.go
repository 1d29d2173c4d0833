package install

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is a block device, or for a try-out a file.
type disk struct {
	*os.File
	sectors uint64
	slow    bool // it cannot make zeros by itself
}

// openDisk opens a disk of so many sectors that nothing else uses.
func openDisk(path string, sectors uint64) (*disk, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_EXCL, 0)
	if err != nil {
		return nil, fmt.Errorf("disk: %w", err)
	}
	return &disk{File: f, sectors: sectors}, nil
}

func (d *disk) Sectors() uint64 { return d.sectors }

// Zero implements medium: by the device itself where it can, else by writing.
func (d *disk) Zero(at, n int64) error {
	if !d.slow {
		span := [2]uint64{uint64(at), uint64(n)}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, d.Fd(), unix.BLKZEROOUT, uintptr(unsafe.Pointer(&span)))
		switch {
		case errno == 0:
			return nil
		case !errors.Is(errno, unix.ENOTTY) && !errors.Is(errno, unix.EOPNOTSUPP) && !errors.Is(errno, unix.EINVAL):
			return fmt.Errorf("clearing %d bytes of %s at %d: %w", n, d.Name(), at, errno)
		}
		d.slow = true
	}
	none := make([]byte, min(n, headBytes))
	for ; n > 0; n, at = n-int64(len(none)), at+int64(len(none)) {
		if _, err := d.WriteAt(none[:min(n, int64(len(none)))], at); err != nil {
			return err
		}
	}
	return nil
}
