package check

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// leastMemory is what a Linux with cloud-init and ssh starts in at all.
const leastMemory = 128 * lab.MiB

// machine checks what a machine is made of.
func (v *vetter) machine(m lab.Machine) {
	if m.External.IsValid() {
		v.external(m)
		return
	}
	if m.Memory < leastMemory && m.Adopted == "" {
		v.error(m.Path("memory"), "%s is too little to start in: give it %s or more", m.Memory, leastMemory)
	}
	if m.Adopted == "" {
		v.image(m)
		v.disks(m)
	}
	if len(m.NICs) == 0 && m.Adopted == "" {
		v.warn(m.Path(), "the machine has no nics, so nothing can reach it, labctl included")
	}
	var uplinks []string
	for _, n := range m.NICs {
		if v.networks[n.Network].Uplink {
			uplinks = append(uplinks, n.Network)
		}
	}
	if len(uplinks) > 1 && m.Adopted == "" {
		v.warn(m.Path("nics"), "the machine is on %d uplinks (%s): its default route leads over the first", len(uplinks), strings.Join(uplinks, ", "))
	}
}

func (v *vetter) image(m lab.Machine) {
	if m.Installer != nil {
		v.installer(m)
		return
	}
	i, ok := v.images[m.Image]
	switch {
	case !ok:
		v.error(m.Path("image"), "there is no image called %q for %s", m.Image, m.Arch)
		return
	case i.Arch != m.Arch:
		v.error(m.Path("image"), "image %s is for %s, and the machine is %s", i.Name, i.Arch, m.Arch)
		return
	}
	if len(m.Disks) > 0 && m.Disks[0].Size < i.MinDisk {
		v.error(m.Path("disk"), "%s is smaller than image %s, which needs %s", m.Disks[0].Size, i.Name, i.MinDisk)
	}
	switch {
	case m.Firmware == lab.Kernel && !i.Kernel:
		v.error(m.Path("firmware"), "image %s does not offer its kernel: use %q or %q", i.Name, lab.BIOS, lab.UEFI)
	case m.Firmware == lab.BIOS && m.Arch == lab.ARM64:
		v.error(m.Path("firmware"), "%s has no BIOS: use %q", m.Arch, lab.UEFI)
	}
}

func (v *vetter) disks(m lab.Machine) {
	seen := map[string]bool{}
	for i, d := range m.Disks {
		path := m.Path("disks", d.Name)
		if i == 0 {
			path = m.Path("disk")
		}
		v.label(path, d.Name)
		if seen[d.Name] {
			v.error(path, "there are two disks called %q; \"root\" is the one made from the image", d.Name)
		}
		seen[d.Name] = true
		if d.Size == 0 {
			v.error(path, "a disk of no size")
		}
	}
}

// digestLengths are in hex digits.
var digestLengths = map[string]int{"sha256": 64, "sha512": 128}

// sources checks where images come from.
func (v *vetter) sources() {
	for _, i := range v.lab.Images {
		if (i.URL == "") == (i.Build == nil) {
			v.error(lab.Path("images", i.Name), "an image needs exactly one of url and build")
		}
		if i.URL != "" {
			v.url(lab.Path("images", i.Name, "url"), i.URL, "http", "https", "file")
			v.digest(i)
		}
		if i.Build != nil && i.Build.Mirror != "" {
			v.url(lab.Path("images", i.Name, "build", "mirror"), i.Build.Mirror, "http", "https", "file")
		}
	}
	for _, t := range v.lab.Targets {
		v.options(t)
	}
}

func (v *vetter) url(path, text string, schemes ...string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || !slices.Contains(schemes, u.Scheme):
		v.error(path, "%q is not a URL that begins with %s", text, strings.Join(schemes, "://, ")+"://")
	case u.Scheme != "file" && u.Host == "":
		v.error(path, "%q names no host", text)
	case u.User != nil:
		if _, has := u.User.Password(); has {
			v.error(path, "a password in a URL: everybody who reads the spec has it")
		}
	}
}

func (v *vetter) digest(i lab.Image) {
	kind, hex, _ := strings.Cut(i.Digest, ":")
	want, ok := digestLengths[kind]
	switch {
	case !ok:
		v.error(lab.Path("images", i.Name), "an image with a url needs the sha256 or sha512 of what the url serves")
	case len(hex) != want || strings.Trim(hex, "0123456789abcdef") != "":
		v.error(lab.Path("images", i.Name, kind), "a %s digest is %d hex digits, not %d characters", kind, want, len(hex))
	}
}

func keys(m map[string]lab.Network) []string { return slices.Sorted(maps.Keys(m)) }

// list is names after a word, if there are any.
func list(word string, names []string) string {
	switch {
	case len(names) == 0:
		return ""
	case len(names) > 8:
		names = append(names[:8:8], "...")
	}
	return word + strings.Join(names, ", ")
}
