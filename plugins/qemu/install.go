package qemu

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/netd"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// rootSerial is by what an installer knows the disk that it writes.
const rootSerial = "root"

// netboot is who is installed from a network by its own process, in normal form, and the images that takes; nil if the
// network gives no installations.
func netboot(l lab.Lab, n lab.Network) (*netd.Netboot, []provider.Addr) {
	if n.Netboot != lab.ByHost {
		return nil, nil
	}
	var needs []provider.Addr
	a := &netd.Netboot{}
	for _, i := range l.Installs() {
		m, _ := l.Machine(i.Machine)
		img, ok := l.Image(m.Image)
		if i.Network != n.Name || i.Server != "" || !ok && m.Installer == nil {
			continue
		}
		t := netd.Target{MAC: i.MAC, Machine: m.Name, Arch: string(m.Arch), Serial: rootSerial}
		if m.Installer != nil {
			t.Installer, t.UEFI = m.Installer, m.Firmware == lab.UEFI
			a.Targets = append(a.Targets, t)
			continue
		}
		t.Image = image.Short(image.ID(img))
		a.Targets = append(a.Targets, t)
		if at := addr(kindImage, img.Name); !slices.Contains(needs, at) {
			needs = append(needs, at)
		}
	}
	slices.SortFunc(a.Targets, func(x, y netd.Target) int { return strings.Compare(x.MAC, y.MAC) })
	slices.SortFunc(needs, provider.Addr.Compare)
	return a, needs
}

// provide puts in its place what machines that install themselves are given: links to what the store keeps, and to seeds,
// which come with the machines.
func (q *qemu) provide(ctx context.Context, ds dirs, all []netd.Target, p provider.Progress) error {
	tell := func(phase string, done, total int64) { p(provider.Step{Phase: phase, Done: done, Total: total}) }
	dir := ds.netd().Netboot()
	packs, boots := map[string]string{}, map[string]bool{}
	for _, t := range all {
		if err := link(ds.seed(t.Machine), filepath.Join(dir, "seeds", t.Machine)); err != nil {
			return failure.File(err)
		}
		if t.Installer != nil {
			if err := q.provideDistro(ctx, filepath.Join(dir, "boot", t.Folder()), t, tell); err != nil {
				return err
			}
			continue
		}
		if packs[t.Image] == "" {
			base, err := q.packable(t.Image)
			if err != nil {
				return err
			}
			if packs[t.Image], err = q.store().Pack(ctx, base, tell); err != nil {
				return failure.Image(err)
			}
			if err := link(packs[t.Image], filepath.Join(dir, "images", t.Image)); err != nil {
				return failure.File(err)
			}
		}
		if boots[t.Arch] {
			continue
		}
		boots[t.Arch] = true
		if err := q.provideBoot(ctx, filepath.Join(dir, "boot", t.Arch), lab.Arch(t.Arch), tell); err != nil {
			return err
		}
	}
	return nil
}

// provideBoot puts in dir what machines of an architecture boot to be installed.
func (q *qemu) provideBoot(ctx context.Context, dir string, arch lab.Arch, tell image.Progress) error {
	program, err := image.FindInstaller(arch, q.programs())
	if err != nil {
		return failure.Image(err)
	}
	boot, err := q.store().Netboot(ctx, arch, program, tell)
	if err != nil {
		return failure.Image(err)
	}
	return serveBoot(dir, boot)
}

// provideDistro puts in dir what a machine starts a distribution's installer with.
func (q *qemu) provideDistro(ctx context.Context, dir string, t netd.Target, tell image.Progress) error {
	boot, err := q.store().Distro(ctx, *t.Installer, lab.Arch(t.Arch), tell)
	if err != nil {
		return failure.Image(err)
	}
	return serveBoot(dir, boot)
}

// serveBoot puts in dir what is served of an installer (install/serve).
func serveBoot(dir string, boot image.Netboot) error {
	for _, f := range []struct{ from, name string }{{boot.Kernel, "kernel"}, {boot.Initrd, "initrd"}, {boot.Medium, "medium"}, {boot.IPXE, "ipxe.efi"}} {
		if f.from == "" {
			continue
		}
		if err := link(f.from, filepath.Join(dir, f.name)); err != nil {
			return failure.File(err)
		}
	}
	return failure.File(files.Write(filepath.Join(dir, "cmdline"), []byte(boot.Cmdline+"\n"), 0o644))
}

// packable is the image whose folder in the store has that name.
func (q *qemu) packable(folder string) (image.Local, error) {
	list, err := q.store().List()
	for _, l := range list {
		if image.Short(l.ID) == folder {
			return l, nil
		}
	}
	if err != nil {
		return image.Local{}, failure.Image(err)
	}
	return image.Local{}, &provider.Error{Code: provider.NotFound, Text: "image " + folder + " is not in the store"}
}

// programs are the folders where the installer may be: those of labctl's plugins.
func (q *qemu) programs() []string {
	var all []string
	if exe, err := os.Executable(); err == nil {
		all = append(all, filepath.Dir(exe))
	}
	return append(all, filepath.Join(q.home, "plugins"))
}

// link makes a symbolic link, or leads it elsewhere.
func link(to, at string) error {
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		return err
	}
	tmp := at + ".new"
	if err := os.Remove(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(os.Symlink(to, tmp), os.Rename(tmp, at))
}

// byHTTP says whether all that the machine may start from on networks is given by the lab's own network process, over HTTP and to
// firmware of arm64. What cannot be asked is no.
func byHTTP(ctx context.Context, ds dirs, d definition) bool {
	if d.Attrs.Arch != lab.ARM64 || d.Attrs.Firmware != lab.UEFI || !d.Installs {
		return false
	}
	st, err := networksOf(ctx, ds)
	if err != nil {
		return false
	}
	given := map[string]bool{}
	for _, n := range st.Networks {
		given[n.Network.Name] = n.Network.Netboot != nil && slices.ContainsFunc(n.Network.Netboot.Targets, func(t netd.Target) bool { return t.Machine == d.Machine })
	}
	return !slices.ContainsFunc(d.Attrs.Boot, func(from string) bool {
		network, ok := cutNetwork(from)
		return ok && !given[network]
	})
}

// Installations implements provider.Installer.
func (q *qemu) Installations(ctx context.Context, l lab.Lab) ([]provider.Installation, error) {
	ds := q.dirs(l.Name)
	st, err := networksOf(ctx, ds)
	if err != nil {
		return nil, provider.Wrap("ask how far installations are", provider.Addr{}, err)
	}
	var all []provider.Installation
	for _, n := range st.Networks {
		for _, h := range n.Installs {
			d, err := ds.load(h.Machine)
			if err != nil || d == nil {
				continue // it is being made or deleted
			}
			if disk, err := ds.loadLabel(h.Machine, d.root()); err != nil || h.When.Before(disk.Made) {
				continue // of another disk
			}
			all = append(all, provider.Installation{
				Machine: h.Machine, Phase: string(h.Phase), Number: h.Number, Of: h.Of, Percent: h.Percent,
				Error: h.Error, Log: h.Log, Done: h.Done, When: h.When,
			})
		}
	}
	slices.SortFunc(all, func(a, b provider.Installation) int { return strings.Compare(a.Machine, b.Machine) })
	return all, nil
}
