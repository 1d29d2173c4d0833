// Package brought has at hand what labctl brings into machines: files of this host, seeds, images ready to be installed,
// the installer that boots from the network, and container images. What it has to make it makes once, in the store.
//
// It must not know how they get there.
package brought

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// Source is where it comes from.
type Source struct {
	Lab      lab.Lab
	Store    image.Store
	Folder   string                                                      // of the lab
	Programs []string                                                    // folders of labctl's programs
	Program  func(name string, arch lab.Arch) ([]byte, error)            // one that runs elsewhere
	Seed     func(ctx context.Context, machine string) (lab.Seed, error) // with secrets
}

// Identify gives what labctl brings into the machines of l its identities, all but those of seeds, which guest.Seeds knows.
func (s Source) Identify(l lab.Lab) (lab.Lab, error) {
	l.Machines = slices.Clone(l.Machines)
	for i := range l.Machines {
		m := &l.Machines[i]
		if len(m.Guest.Brought()) == 0 {
			continue
		}
		m.Guest.Files = slices.Clone(m.Guest.Files)
		for j := range m.Guest.Files {
			f := &m.Guest.Files[j]
			if !f.From.Brought() || f.From.ID != "" {
				continue
			}
			id, err := s.identity(l, *m, *f.From)
			if err != nil {
				return l, fmt.Errorf("%s: %w", m.Path("files", f.Path), err)
			}
			from := *f.From
			from.ID = id
			f.From = &from
		}
	}
	return l, nil
}

// identity is "" for what is made of a program that this host has not got: a plan does not need it, and Pack says so.
func (s Source) identity(l lab.Lab, m lab.Machine, o lab.Origin) (string, error) {
	switch {
	case o.Image != "":
		i, ok := l.Image(o.Image)
		if !ok {
			return "", fmt.Errorf("the lab has no image %q", o.Image)
		}
		return image.ID(i), nil
	case o.Netboot != "":
		path, err := image.FindInstaller(o.Netboot, s.Programs)
		if err != nil {
			return "", nil
		}
		program, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		sum := sha256.Sum256(program)
		return "netboot:" + string(o.Netboot) + ":" + hex.EncodeToString(sum[:]), nil
	case o.Installer != "":
		who, i, err := installer(l, o.Installer)
		if err != nil {
			return "", err
		}
		return "installer:" + i.Folder(who.Arch), nil
	case o.Container != "":
		c, err := s.container(o.Container, m.Arch)
		if err != nil {
			return "", nil
		}
		return image.ContainerID(c)
	}
	return "", nil
}

func (s Source) container(name string, arch lab.Arch) (image.Container, error) {
	program, err := s.Program("labctl-netboot", arch)
	return image.Container{Name: name, Arch: arch, Program: program}, err
}

// Pack is a guest.Packer.
func (s Source) Pack(ctx context.Context, m lab.Machine, f lab.File, p guest.Progress) (guest.Parcel, error) {
	o, parcel := *f.From, guest.Parcel{ID: f.From.ID}
	tell := func(what string) func(string, int64, int64) {
		return func(phase string, done, total int64) {
			if total > 0 {
				phase = fmt.Sprintf("%s, %d %%", phase, done*100/total)
			}
			p(what+": "+phase, 0, 0)
		}
	}
	var err error
	switch {
	case o.File != "":
		path := o.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Folder, path)
		}
		var item guest.Packed
		if item, err = file("", path); err == nil && item.SHA256 != o.SHA256 {
			err = fmt.Errorf("%s is not what was asked for: its sha256 is %s, not %s", path, item.SHA256, o.SHA256)
		}
		parcel.Items = append(parcel.Items, item)
	case o.Seed != "":
		parcel, err = s.seed(ctx, o.Seed)
	case o.Image != "":
		parcel.Items, err = s.image(ctx, o.Image, tell("image "+o.Image))
	case o.Netboot != "":
		parcel.Items, err = s.netboot(ctx, o.Netboot, tell("installer for "+string(o.Netboot)))
	case o.Installer != "":
		parcel.Items, err = s.distro(ctx, o.Installer, tell("installer of "+o.Installer))
	case o.Container != "":
		parcel.Items, err = s.boxed(ctx, o.Container, m.Arch, tell("container image "+o.Container))
	}
	return parcel, err
}

// seed has the identity that the guest document of the machine it is brought into knows it by (guest.Seeds).
func (s Source) seed(ctx context.Context, machine string) (guest.Parcel, error) {
	seed, err := s.Seed(ctx, machine)
	if err != nil {
		return guest.Parcel{}, err
	}
	var iso bytes.Buffer
	if err := seediso.Write(&iso, seed); err != nil {
		return guest.Parcel{}, err
	}
	return guest.Parcel{ID: seed.Digest, Items: []guest.Packed{text("", iso.Bytes())}}, nil
}

func (s Source) image(ctx context.Context, name string, tell func(string, int64, int64)) ([]guest.Packed, error) {
	i, ok := s.Lab.Image(name)
	if !ok {
		return nil, fmt.Errorf("the lab has no image %q", name)
	}
	local, err := s.Store.Ensure(ctx, i, tell)
	if err != nil {
		return nil, err
	}
	dir, err := s.Store.Pack(ctx, local, tell)
	if err != nil {
		return nil, err
	}
	return files(dir, "disk.zst", "image.json")
}

func (s Source) netboot(ctx context.Context, arch lab.Arch, tell func(string, int64, int64)) ([]guest.Packed, error) {
	path, err := image.FindInstaller(arch, s.Programs)
	if err != nil {
		return nil, err
	}
	n, err := s.Store.Netboot(ctx, arch, path, tell)
	if err != nil {
		return nil, err
	}
	kernel, err := file("kernel", n.Kernel)
	if err != nil {
		return nil, err
	}
	initrd, err := file("initrd", n.Initrd)
	return []guest.Packed{kernel, initrd, text("cmdline", []byte(n.Cmdline+"\n"))}, err
}

// installer is the distribution's installer of a machine.
func installer(l lab.Lab, machine string) (lab.Machine, lab.Installer, error) {
	m, ok := l.Machine(machine)
	if !ok || m.Installer == nil {
		return m, lab.Installer{}, fmt.Errorf("no machine %q of the lab is installed by a distribution's installer", machine)
	}
	return m, *m.Installer, nil
}

func (s Source) distro(ctx context.Context, machine string, tell func(string, int64, int64)) ([]guest.Packed, error) {
	m, i, err := installer(s.Lab, machine)
	if err != nil {
		return nil, err
	}
	n, err := s.Store.Distro(ctx, i, m.Arch, tell)
	if err != nil {
		return nil, err
	}
	out := []guest.Packed{text("cmdline", []byte(n.Cmdline+"\n"))}
	for _, f := range []struct{ name, path string }{{"kernel", n.Kernel}, {"initrd", n.Initrd}, {"medium", n.Medium}} {
		if f.path == "" {
			continue
		}
		one, err := file(f.name, f.path)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (s Source) boxed(ctx context.Context, name string, arch lab.Arch, tell func(string, int64, int64)) ([]guest.Packed, error) {
	c, err := s.container(name, arch)
	if err != nil {
		return nil, err
	}
	local, err := s.Store.EnsureContainer(ctx, c, false, tell)
	if err != nil {
		return nil, err
	}
	return []guest.Packed{{SHA256: local.SHA256, Length: local.Length, Open: opener(local.File)}}, nil
}

// files are those of a folder, by name.
func files(dir string, names ...string) ([]guest.Packed, error) {
	var out []guest.Packed
	for _, name := range names {
		one, err := file(name, filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

// file is a file of this host, with the digest that it has now.
func file(name, path string) (guest.Packed, error) {
	f, err := os.Open(path)
	if err != nil {
		return guest.Packed{}, err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return guest.Packed{}, err
	}
	return guest.Packed{Name: name, SHA256: hex.EncodeToString(h.Sum(nil)), Length: n, Open: opener(path)}, nil
}

func opener(path string) func() (io.ReadSeekCloser, error) {
	return func() (io.ReadSeekCloser, error) { return os.Open(path) }
}

// text is a file that is here in memory alone.
func text(name string, b []byte) guest.Packed {
	sum := sha256.Sum256(b)
	return guest.Packed{Name: name, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(b)), Open: func() (io.ReadSeekCloser, error) {
		return inMemory{bytes.NewReader(b)}, nil
	}}
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }
