package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Answers is the language in which a distribution's own installer is told what it would ask a person.
type Answers string

// The languages labctl can write.
const (
	Preseed     Answers = "preseed"     // debian-installer: answers for debconf
	Autoinstall Answers = "autoinstall" // Subiquity, of Ubuntu's live server: YAML in cloud-init's user-data
)

// Installer is a distribution's own installer, for machines of one architecture, as a machine starts it from the network.
type Installer struct {
	Name     string   `json:"name"` // an entry of the lab's installers
	Answers  Answers  `json:"answers"`
	Release  string   `json:"release"`            // what it installs, by code name
	Mirror   string   `json:"mirror"`             // the archive it installs from, a URL by http
	Packages []string `json:"packages,omitempty"` // installed beside what the installer chooses itself, in order
	Kernel   Part     `json:"kernel,omitzero"`
	Initrd   Part     `json:"initrd,omitzero"`
	Medium   Part     `json:"medium,omitzero"` // the rest of the installer, which its initrd fetches; none for Preseed
}

// Part is a file that an installer is made of: out of a package of its mirror, whose signature is checked on the way, or
// from a URL by its digest.
type Part struct {
	Package string `json:"package,omitempty"`
	Path    string `json:"path,omitempty"` // in the package, absolute
	URL     string `json:"url,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of what URL serves, 64 lower-case hex digits
}

// Here says whether there is such a part.
func (p Part) Here() bool { return p != Part{} }

// Complete says whether the installer has all that a machine needs to start it.
func (i Installer) Complete() bool {
	return i.Kernel.Here() && i.Initrd.Here() && (i.Medium.Here() || i.Answers == Preseed)
}

// Edition tells what it installs from what another would: a machine whose disk is of another edition has to be installed
// anew. Where it is fetched from is no part of that.
func (i Installer) Edition() string {
	e := i.Name + " " + i.Release
	if i.Medium.SHA256 != "" {
		e += " " + i.Medium.SHA256[:12]
	}
	return e
}

// Folder is a name for what it is started with on a machine of that architecture: the same name is the same files. Of labctl's
// own, which is nil, that is the architecture's.
func (i *Installer) Folder(arch Arch) string {
	if i == nil {
		return string(arch)
	}
	b, err := json.Marshal([]any{arch, i.Release, i.Mirror, i.Kernel, i.Initrd, i.Medium})
	if err != nil {
		panic(err) // strings only: cannot happen
	}
	h := sha256.Sum256(b)
	return i.Name + "-" + string(arch) + "-" + hex.EncodeToString(h[:6])
}

// DiskBy is how the machine's root disk comes to be, in a few words: "" by the hypervisor, "network" from its image by
// labctl's installer, and else by which other one.
func (m Machine) DiskBy() string {
	if m.Installer == nil {
		return string(m.Install)
	}
	return string(m.Install) + ": " + m.Installer.Edition()
}
