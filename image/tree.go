package image

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// setupFile is the recipe's script inside the system that is being installed.
const setupFile = "/labctl-setup"

// writeOverlay makes the archive of the recipe's own files. root= is known only here, since it is a digest of the
// recipe.
func writeOverlay(name string, r recipe.Recipe, root string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	made := map[string]bool{".": true}
	files := append([]recipe.File{{Path: setupFile, Mode: 0o755, Text: r.Script}}, r.Files...)
	for _, file := range files {
		text := strings.ReplaceAll(file.Text, "root=ROOT", root)
		p := strings.TrimPrefix(file.Path, "/")
		if err := folders(w, path.Dir(p), made); err != nil {
			return err
		}
		h := &tar.Header{Name: "./" + p, Mode: file.Mode, Size: int64(len(text)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if file.Link != "" {
			h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, file.Link, 0o777
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), f.Close())
}

func folders(w *tar.Writer, dir string, made map[string]bool) error {
	if made[dir] {
		return nil
	}
	made[dir] = true
	if err := folders(w, path.Dir(dir), made); err != nil {
		return err
	}
	return w.WriteHeader(&tar.Header{Name: "./" + dir + "/", Mode: 0o755, ModTime: time.Unix(0, 0), Typeflag: tar.TypeDir})
}

// contents is what matters of an installed system to make a disk of it.
type contents struct {
	bytes       lab.Bytes // as files of a file system with blocks of 4 KiB
	needsInitrd bool      // the kernel cannot mount its root without one
	// capabilities are the values of security.capability by path. fakeroot 1.31 loses files that have one, and some file
	// systems of hosts cannot hold it, so they are put into the new file system itself.
	capabilities map[string][]byte
}

// inspect reads root.tar once: its size, and the kernel and initrd, which it takes out.
func (b *builder) inspect(ctx context.Context) (contents, error) {
	f, err := os.Open(b.path("root.tar"))
	if err != nil {
		return contents{}, err
	}
	defer f.Close()
	c := contents{capabilities: map[string][]byte{}}
	var kernel, initrd bool
	for r := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return c, err
		}
		c.bytes += (lab.Bytes(h.Size)+4095)/4096*4096 + 512 // and an inode with its part of a directory
		name := path.Clean("/" + h.Name)
		if v, ok := h.PAXRecords["SCHILY.xattr.security.capability"]; ok {
			c.capabilities[name] = []byte(v)
		}
		switch {
		case h.Typeflag != tar.TypeReg:
		case strings.HasPrefix(name, "/boot/vmlinuz-"):
			kernel = true
			err = take(r, b.path(kernelFile))
		case strings.HasPrefix(name, "/boot/initrd.img-"):
			initrd = true
			err = take(r, b.path(initrdFile))
		case strings.HasPrefix(name, "/boot/config-"):
			c.needsInitrd, err = lacksBuiltin(r)
		}
		if err != nil {
			return c, err
		}
	}
	if !kernel || !initrd {
		return c, fmt.Errorf("the packages brought no kernel or no initrd into /boot")
	}
	return c, nil
}

func take(r io.Reader, name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// lacksBuiltin reads a kernel's configuration: without these in the kernel itself an NVMe root disk needs an initrd.
func lacksBuiltin(r io.Reader) (bool, error) {
	missing := map[string]bool{"CONFIG_BLK_DEV_NVME=y": true, "CONFIG_EXT4_FS=y": true, "CONFIG_EFI_PARTITION=y": true}
	s := bufio.NewScanner(r)
	for s.Scan() {
		delete(missing, s.Text())
	}
	return len(missing) > 0, s.Err()
}
