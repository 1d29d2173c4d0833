// Package container writes the root file system of a container as an image that `docker load` takes: what `docker save` makes,
// with one layer (Docker Image Specification v1.2). The same input is the same bytes.
//
// It must not know where the files come from, nor who runs them.
package container

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// Image is what an image has beside the files of packages.
type Image struct {
	Tag        string // "labctl/pxeboot:1"
	Arch       string // as Docker calls it: "amd64", "arm64"
	Entrypoint []string
	Files      []File   // beside those of packages, or in their place
	Drop       []string // what is left out: paths, or folders with all that is in them, without "/" before
	Keep       []string // what is not left out all the same
}

// File is a file, with Link a symbolic link, and with neither Link nor Content and a "/" at the end of its path a folder. It
// belongs to root.
type File struct {
	Path    string // without "/" before
	Mode    int64
	Content []byte
	Link    string
}

// Write writes the image to w, with the files of the tar archive packages. scratch is a file that it may use meanwhile.
func Write(w io.Writer, packages io.Reader, scratch *os.File, i Image) error {
	layer, err := i.layer(packages, scratch)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": i.Arch, "os": "linux", "created": "1970-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": i.Entrypoint, "Env": []string{"PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + layer}},
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(config)
	name := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "RepoTags": []string{i.Tag}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return err
	}
	size, err := scratch.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = scratch.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, part := range []struct {
		name string
		size int64
		from io.Reader
	}{{"manifest.json", int64(len(manifest)), bytes.NewReader(manifest)}, {name, int64(len(config)), bytes.NewReader(config)}, {"layer.tar", size, scratch}} {
		if err := out.WriteHeader(&tar.Header{Name: part.name, Mode: 0o644, Size: part.size, ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := io.Copy(out, part.from); err != nil {
			return err
		}
	}
	return out.Close()
}

// layer writes the only layer to scratch, compressed, and returns the digest of what it is uncompressed.
func (i Image) layer(packages io.Reader, scratch *os.File) (digest string, err error) {
	z, err := gzip.NewWriterLevel(scratch, 6)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	out := tar.NewWriter(io.MultiWriter(z, h))
	made := map[string]bool{}
	for _, f := range i.Files {
		if err := add(out, f, made); err != nil {
			return "", err
		}
	}
	for in := tar.NewReader(packages); ; {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", fmt.Errorf("read the packages: %w", err)
		}
		name := strings.TrimPrefix(path.Clean("/"+header.Name), "/")
		if name == "" || made[name] || i.dropped(name) {
			continue
		}
		made[name] = true
		header.Name = name
		if header.Typeflag == tar.TypeDir {
			header.Name += "/"
		}
		plain := &tar.Header{Name: header.Name, Typeflag: header.Typeflag, Mode: header.Mode & 0o777, Linkname: header.Linkname, ModTime: time.Unix(0, 0)}
		switch header.Typeflag {
		case tar.TypeReg:
			plain.Size = header.Size
		case tar.TypeLink: // to a file that may have been left out
			if plain.Linkname = strings.TrimPrefix(path.Clean("/"+header.Linkname), "/"); i.dropped(plain.Linkname) {
				return "", fmt.Errorf("%s is a hard link to %s, which is left out", name, plain.Linkname)
			}
		case tar.TypeDir, tar.TypeSymlink:
		default: // devices and sockets are the container's own
			continue
		}
		if err := out.WriteHeader(plain); err != nil {
			return "", err
		}
		if _, err := io.Copy(out, in); err != nil {
			return "", fmt.Errorf("read the packages: %s: %w", name, err)
		}
	}
	if err := errors.Join(out.Close(), z.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// dropped says whether a path is left out.
func (i Image) dropped(name string) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(list, func(p string) bool {
			ok, _ := path.Match(p, name)
			return ok || name == p || strings.HasPrefix(name, p+"/")
		})
	}
	return in(i.Drop) && !in(i.Keep)
}

// add writes a file, and the folders on the way to it.
func add(out *tar.Writer, f File, made map[string]bool) error {
	name := strings.TrimSuffix(f.Path, "/")
	if dir := path.Dir(name); dir != "." && !made[dir] {
		if err := add(out, File{Path: dir + "/", Mode: 0o755}, made); err != nil {
			return err
		}
	}
	made[name] = true
	h := &tar.Header{Name: f.Path, Mode: f.Mode, Size: int64(len(f.Content)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
	switch {
	case f.Link != "":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f.Link, 0o777
	case strings.HasSuffix(f.Path, "/"):
		h.Typeflag = tar.TypeDir
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err := out.Write(f.Content)
	return err
}
