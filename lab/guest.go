package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"path"
	"slices"
	"strings"
)

// Origin is where something in a machine comes from. Exactly one of URL, File, Seed, Image, Netboot, Installer and Container is set. The
// machine itself fetches a URL; all else labctl brings.
type Origin struct {
	URL    string `json:"url,omitempty"`    // http or https
	SHA256 string `json:"sha256,omitempty"` // of what URL serves or File is, 64 lower-case hex digits
	File   string `json:"file,omitempty"`   // of labctl's own host: absolute, or relative to the lab's folder
	Seed   string `json:"seed,omitempty"`   // the machine whose seed it is, as a NoCloud image (ISO 9660)
	// Image is the name of one of Lab.Images: a folder with its disk as disk.zst (raw, zstd) and image.json, which says
	// how long it is and has its digests.
	Image     string `json:"image,omitempty"`
	Netboot   Arch   `json:"netboot,omitempty"`   // a folder with the kernel and the initrd that install such machines
	Installer string `json:"installer,omitempty"` // a machine that a distribution's installer installs: a folder with that one's kernel and initrd
	Container string `json:"container,omitempty"` // the name of a container image that labctl builds, as docker save makes it
	// ID tells what labctl brings from what it would bring otherwise: the same ID is the same content. It is known without
	// having that. No spec says it; "" is not known yet.
	ID string `json:"id,omitempty"`
}

// Brought says whether it is labctl that brings it into the machine, over its own way in.
func (o *Origin) Brought() bool { return o != nil && o.URL == "" }

// Folder says whether it is a folder, not a file.
func (o *Origin) Folder() bool { return o.Image != "" || o.Netboot != "" || o.Installer != "" }

// Brought are the files, and folders, that labctl brings into a machine.
func (g Guest) Brought() []File {
	var out []File
	for _, f := range g.Files {
		if f.From.Brought() {
			out = append(out, f)
		}
	}
	return out
}

// Source is a repository of packages for apt.
type Source struct {
	Name       string   `json:"name"`
	URL        string   `json:"url"` // http or https
	Suites     []string `json:"suites"`
	Components []string `json:"components,omitempty"` // none where the suites are paths that end in "/"
	Arches     []Arch   `json:"arches"`               // "all" besides those of machines
	Key        Key      `json:"key"`
}

// Key is an OpenPGP key that signs a Source. Exactly one of URL and Text is where it comes from.
type Key struct {
	Fingerprint string `json:"fingerprint"`    // 40 upper-case hex digits
	URL         string `json:"url,omitempty"`  // where the machine fetches it, armored or not
	Text        string `json:"text,omitempty"` // armored, or the base64 of what is not
}

// Account is a user inside a machine, beside the administrator: a new one, or what one that a package makes is besides.
type Account struct {
	Name       string   `json:"name"`
	System     bool     `json:"system,omitempty"`
	UID        int      `json:"uid,omitempty"`      // 0 is the machine's choice
	Home       string   `json:"home,omitempty"`     // "" as it is; a new account's is /home/NAME, a system account has none
	Shell      string   `json:"shell,omitempty"`    // "" as it is; a new account's is /bin/bash, of a system account nologin
	Groups     []string `json:"groups,omitempty"`   // besides its own, sorted
	Password   string   `json:"password,omitempty"` // name of an entry of Lab.Secrets: the password or its hash, crypt(5)
	Authorized []string `json:"authorized,omitempty"`
}

// Data is a folder inside a machine that has a disk of its own.
type Data struct {
	Path  string `json:"path"` // absolute
	Disk  string `json:"disk"` // name of one of the machine's Disks
	Size  Bytes  `json:"size"` // of that disk: what is in it grows with it
	Owner string `json:"owner"`
	Group string `json:"group"`
	Mode  string `json:"mode"` // octal, e.g. "0750"
}

// DataDisk is the name of the disk for a folder of data: the last part of the path and a hash of all of it, at most 16
// bytes, so that it is whole as a disk's serial number (virtio: 20) and as a file system's label (ext4: 16).
func DataDisk(folder string) string {
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(path.Base(folder)))
	if base = strings.Trim(base[:min(len(base), 9)], "-"); base == "" {
		base = "data"
	}
	h := sha256.Sum256([]byte("data\x00" + folder))
	return base + "-" + hex.EncodeToString(h[:3])
}

// Protects says whether a disk of m is deleted or replaced only when it is named.
func (m Machine) Protects(d Disk) bool { return m.Protect || d.Protect }

// Secrets are all secrets that what holds inside a machine needs, sorted.
func (g Guest) Secrets() []SecretRef {
	refs := map[SecretRef]bool{}
	for _, f := range g.Files {
		for _, ref := range f.Secrets() {
			refs[ref] = true
		}
	}
	for _, u := range g.Users {
		if u.Password != "" {
			refs[SecretRef(u.Password)] = true
		}
	}
	return slices.Sorted(maps.Keys(refs))
}

// Wait is a part of a Guest that comes after the rest of it: a role that waits for other machines, or what comes after
// one that does.
type Wait struct {
	Role     string   `json:"role,omitempty"`     // "" for what is the machine's own
	For      []Check  `json:"for,omitempty"`      // asked from the machine; Name says for what it waits
	Units    []string `json:"units,omitempty"`    // names of Guest.Units
	Commands []string `json:"commands,omitempty"` // names of Guest.Commands
}
