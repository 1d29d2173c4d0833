package schema

import (
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// ownInstaller is labctl's.
const ownInstaller = "labctl"

type installerDoc struct {
	Answers  lab.Answers `json:"answers"`
	Release  string      `json:"release"`
	Mirror   string      `json:"mirror"`
	Packages []string    `json:"packages"`
	Boot     map[lab.Arch]struct {
		Kernel lab.Part `json:"kernel"`
		Initrd lab.Part `json:"initrd"`
		Medium lab.Part `json:"medium"`
	} `json:"boot"`
}

// installer is the distribution's installer that a machine names, or nil.
func (d *decoder) installer(path string, m machineDoc) *lab.Installer {
	if m.Installer == ownInstaller || m.Installer == "" {
		return nil
	}
	doc, ok := d.installers[m.Installer]
	switch {
	case !ok:
		d.problem(path, "there is no installer called %q: it is %q or one of installers%s", m.Installer, ownInstaller, lab.Meant(m.Installer, slices.Collect(maps.Keys(d.installers))))
		return nil
	case !m.networked():
		d.problem(path, "%q installs from the network, and the hypervisor makes this machine's disk: with install: %q", m.Installer, lab.FromNetwork)
		return nil
	}
	at := lab.Path("installers", m.Installer)
	b := doc.Boot[lab.Arch(m.Arch)]
	out := &lab.Installer{
		Name: m.Installer, Answers: doc.Answers, Release: doc.Release, Mirror: strings.TrimSuffix(doc.Mirror, "/"), Packages: doc.Packages,
		Kernel: d.part(at, m.Arch, "kernel", b.Kernel), Initrd: d.part(at, m.Arch, "initrd", b.Initrd), Medium: d.part(at, m.Arch, "medium", b.Medium),
	}
	switch {
	case !out.Complete():
		what := "kernel and initrd"
		if out.Answers == lab.Autoinstall {
			what = "kernel, initrd and medium"
		}
		d.problem(path, "installer %q has not got all that %s machines start it with: installers: %s: boot: %s names %s", m.Installer, m.Arch, m.Installer, m.Arch, what)
	case out.Medium.Here() && out.Answers == lab.Preseed:
		d.problem(at+"."+lab.Path("boot", m.Arch, "medium"), "an installer that is told by %q has none", lab.Preseed)
	}
	return out
}

// part checks where a file of an installer comes from.
func (d *decoder) part(at, arch, name string, p lab.Part) lab.Part {
	path := at + "." + lab.Path("boot", arch, name)
	switch {
	case !p.Here():
	case count(p.Package != "", p.URL != "") != 1:
		d.problem(path, "needs exactly one of package and url")
	case p.Package != "" && (p.Path == "" || p.SHA256 != ""):
		d.problem(path, "of a package needs its path there, and no digest: the archive's signature is checked")
	case p.URL != "" && (p.SHA256 == "" || p.Path != ""):
		d.problem(path, "of a url needs its sha256, and no path")
	}
	p.SHA256 = strings.ToLower(p.SHA256)
	return p
}
