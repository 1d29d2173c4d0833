// Package tree makes of an image's disk the folder that containers start from: the files of its root file system, as
// they are on it. Once for each image, for all labs.
//
// It must not know containers, labs, or where images come from.
package tree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/labctl-dev/labctl/image"
)

// Path is the folder of an image that is in the store, whether it has been made or not. It goes with the image.
func Path(i image.Local) string { return filepath.Join(filepath.Dir(i.Disk), "tree") }

// Exists says whether the folder has been made.
func Exists(i image.Local) bool {
	_, err := os.Stat(Path(i))
	return err == nil
}

// copyRoot mounts the file system at an offset of a disk, where nobody else sees it, and copies it; the loop device
// goes with the mount.
const copyRoot = `set -e
mount -t tmpfs tmpfs "$4"
mkdir "$4/root"
mount -o ro,loop,offset="$2",sizelimit="$3" "$1" "$4/root"
mkdir "$5"
cp -a --reflink=auto "$4/root/." "$5/"`

// Make makes the folder if it is not there, and returns when it is whole. It needs root, qemu-img and a loop device.
func Make(ctx context.Context, i image.Local, progress func(phase string)) error {
	if Exists(i) {
		return nil
	}
	dir := filepath.Dir(i.Disk)
	unlock, err := lock(ctx, filepath.Join(dir, ".tree.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	if Exists(i) {
		return nil
	}
	work := filepath.Join(dir, ".tree")
	if err := os.RemoveAll(work); err != nil { // of somebody who was killed
		return err
	}
	defer os.RemoveAll(work)
	if err := os.MkdirAll(filepath.Join(work, "mount"), 0o700); err != nil {
		return err
	}
	progress("unpacking the disk")
	raw := filepath.Join(work, "disk.raw")
	if err := run(ctx, "qemu-img", "convert", "-O", "raw", i.Disk, raw); err != nil {
		return fmt.Errorf("unpack %s: %w", i.Disk, err)
	}
	at, err := root(raw)
	if err != nil {
		return fmt.Errorf("find the root file system of %s: %w", i.Disk, err)
	}
	progress("copying files")
	made := filepath.Join(work, "tree")
	err = run(ctx, "unshare", "--mount", "sh", "-c", copyRoot, "sh", raw, strconv.FormatInt(at.offset, 10), strconv.FormatInt(at.size, 10), filepath.Join(work, "mount"), made)
	if err != nil {
		return fmt.Errorf("copy the root file system of %s: %w", i.Disk, err)
	}
	return os.Rename(made, Path(i))
}

func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		if text := strings.TrimSpace(string(out)); text != "" {
			return fmt.Errorf("%s: %w: %s", name, err, text)
		}
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// lock waits until nobody else works on the image's folder.
func lock(ctx context.Context, name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, err
		}
		if err := pause(ctx); err != nil {
			f.Close()
			return nil, fmt.Errorf("wait for another process to make %s: %w", filepath.Dir(name), err)
		}
	}
}
