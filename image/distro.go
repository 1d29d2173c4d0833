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
	"path/filepath"
	"strings"

	"github.com/labctl-dev/labctl/image/fetch"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// mediumFile is the rest of a distribution's installer.
const mediumFile = "medium"

// Distro is what machines of an architecture start a distribution's installer with: fetched once, and kept. Packages come by
// apt, which checks the archive's signature; the rest by its digest.
func (s Store) Distro(ctx context.Context, i lab.Installer, arch lab.Arch, progress Progress) (Netboot, error) {
	folder := i.Folder(arch)
	dir := filepath.Join(s.Dir, ".installer-"+folder)
	made := Netboot{Kernel: filepath.Join(dir, kernelFile), Initrd: filepath.Join(dir, initrdFile), Cmdline: cmdlines[arch]}
	parts := map[string]lab.Part{kernelFile: i.Kernel, initrdFile: i.Initrd}
	if i.Medium.Here() {
		made.Medium, parts[mediumFile] = filepath.Join(dir, mediumFile), i.Medium
	}
	once := folderOnce{name: i.Name, lock: folder, path: dir, verb: "get", what: fmt.Sprintf("the installer %s for %s", i.Name, arch), exists: func() bool {
		_, err := os.Stat(dir)
		return err == nil
	}}
	err := s.once(ctx, once, progress, func(work string) error {
		if err := s.distroPackages(ctx, i, arch, work, parts, progress); err != nil {
			return err
		}
		for _, name := range []string{kernelFile, initrdFile, mediumFile} {
			if p := parts[name]; p.URL != "" {
				if err := s.distroFile(ctx, i, folder, name, p, work, progress); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return Netboot{}, err
	}
	for name := range parts {
		if err := s.dropPart(folder + "-" + name); err != nil {
			return Netboot{}, err
		}
	}
	return made, nil
}

// distroPackages takes those parts out of packages that are in any.
func (s Store) distroPackages(ctx context.Context, i lab.Installer, arch lab.Arch, work string, parts map[string]lab.Part, progress Progress) error {
	var packages []string
	wanted := map[string]string{} // file of work by path
	for _, name := range []string{kernelFile, initrdFile, mediumFile} {
		if p := parts[name]; p.Package != "" {
			packages = append(packages, p.Package)
			wanted[path.Clean(p.Path)] = filepath.Join(work, name)
		}
	}
	if len(packages) == 0 {
		return nil
	}
	if err := need(i.Name, []Tool{{"mmdebstrap", "mmdebstrap"}, {debianKeys, "debian-archive-keyring"}}); err != nil {
		return err
	}
	mirror := i.Mirror
	for _, own := range recipe.Archives() {
		if mirror == own {
			mirror = "" // this host's own way to it will do
		}
	}
	b := &builder{
		image: lab.Image{Name: i.Name, Arch: arch}, dir: work, progress: progress,
		recipe: recipe.New(arch, lab.Build{Distribution: "debian", Release: i.Release, Mirror: mirror}), tools: tools{image: i.Name},
	}
	progress("packages", 0, 0)
	if err := b.extract(ctx, nil, packages...); err != nil {
		return fail(Failed, i.Name, err, "cannot get the installer %s for %s out of its packages %s", i.Name, arch, strings.Join(packages, ", "))
	}
	if err := pick(ctx, b.path("root.tar"), wanted); err != nil {
		return fail(Failed, i.Name, err, "cannot get the installer %s for %s out of its packages %s", i.Name, arch, strings.Join(packages, ", "))
	}
	return nil
}

// pick takes files out of an archive by their paths, and removes the archive.
func pick(ctx context.Context, archive string, wanted map[string]string) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	for r := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); len(wanted) > 0; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		name := path.Clean("/" + h.Name)
		to, ok := wanted[name]
		if !ok {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("%s is no plain file", name)
		}
		if err := take(r, to); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		delete(wanted, name)
	}
	for name := range wanted {
		return fmt.Errorf("no file %s", name)
	}
	return os.Remove(archive)
}

// distroFile downloads a part.
func (s Store) distroFile(ctx context.Context, i lab.Installer, folder, name string, p lab.Part, work string, progress Progress) error {
	digest, err := fetch.ParseDigest("sha256:" + p.SHA256)
	if err != nil {
		return fail(Invalid, i.Name, nil, "installer %s: %v", i.Name, err)
	}
	part := s.part(folder + "-" + name)
	err = fetch.Get(ctx, fetch.Request{URL: p.URL, Digest: digest, Part: part, Stall: s.stall(), Progress: func(done, total int64) { progress("downloading "+name, done, total) }})
	if err != nil {
		return fail(Failed, i.Name, err, "cannot get the %s of installer %s", name, i.Name)
	}
	if err := os.Rename(part, filepath.Join(work, name)); err != nil {
		return fail(Denied, i.Name, err, "cannot keep the installer %s", i.Name)
	}
	return nil
}
