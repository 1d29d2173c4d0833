package box

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// attach makes block devices of files. They are detached by the kernel when nobody uses them any more: this process has
// them open.
func attach(disks []Disk) ([]string, error) {
	var devices []string
	for _, d := range disks {
		path, err := loop(d.File)
		if err != nil {
			return nil, fmt.Errorf("attach disk %s: %w", d.File, err)
		}
		devices = append(devices, path)
	}
	return devices, nil
}

func loop(file string) (string, error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", err
	}
	defer control.Close()
	for range 100 { // others look for a free one, too
		n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return "", fmt.Errorf("find a free loop device: %w", err)
		}
		path := fmt.Sprintf("/dev/loop%d", n)
		dev, err := os.OpenFile(path, os.O_RDWR, 0)
		if os.IsNotExist(err) { // where nobody makes them
			if err = unix.Mknod(path, unix.S_IFBLK|0o660, int(unix.Mkdev(7, uint32(n)))); err == nil {
				dev, err = os.OpenFile(path, os.O_RDWR, 0)
			}
		}
		if err != nil {
			return "", err
		}
		config := unix.LoopConfig{Fd: uint32(backing.Fd()), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_AUTOCLEAR}}
		copy(config.Info.File_name[:len(config.Info.File_name)-1], file)
		if err = unix.IoctlLoopConfigure(int(dev.Fd()), &config); err == nil {
			keep(dev)
			return path, nil
		}
		dev.Close()
		if err != unix.EBUSY {
			return "", fmt.Errorf("configure %s: %w", path, err)
		}
	}
	return "", fmt.Errorf("no loop device stays free")
}

// keep leaves a file open until the process ends, without the garbage collector's help.
func keep(f *os.File) {
	if fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		_ = fd
	}
}
