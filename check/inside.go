package check

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// debianPackage is Debian policy's form of a package name, with an architecture or version after it. What begins with
// "-" would be an option of apt.
var debianPackage = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*(:[a-z0-9]+)?(=[A-Za-z0-9.+:~-]+)?$`)

// unit is the form of a systemd unit's name, see systemd.unit(5).
var unit = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.(service|socket|timer|mount|automount|path|target|swap|slice)$`)

// ours are the folders and files in a guest that belong to labctl.
var ours = []string{"/etc/labctl", "/usr/local/lib/labctl", "/run/labctl", "/var/lib/labctl", "/etc/hosts", "/etc/hostname"}

// oursByName are the files that labctl writes into folders of others: units, settings of the kernel, the network and sudo.
var oursByName = regexp.MustCompile(`^/etc/.*/([0-9]+-)?labctl[^/]*$`)

// inside checks what should hold inside a machine.
func (v *vetter) inside(m lab.Machine) {
	v.parts(m)
	for _, f := range m.Guest.Files {
		v.file(m, f)
	}
	for _, p := range m.Guest.Packages {
		if !debianPackage.MatchString(p) {
			v.error(m.Path("packages"), "%q is not the name of a package", p)
		}
	}
	for _, u := range m.Guest.Units {
		v.unit(m.Path("units", u.Name), u.Name)
		if u.Name == "nftables.service" && (m.Router || m.Firewall) && (u.Enabled || u.Running) {
			v.error(m.Path("units", u.Name), "it empties the packet filter when it starts, and this machine's is labctl's")
		}
	}
	for _, c := range m.Guest.Commands {
		path := m.Path("commands", c.Name)
		v.revealed(path+".run", c.Run)
		if c.Creates != "" && !strings.HasPrefix(c.Creates, "/") {
			v.error(path+".creates", "%q is not an absolute path", c.Creates)
		}
		if strings.TrimSpace(c.Run) == "" {
			v.error(path+".run", "a command that does nothing")
		}
		v.onchange(m, path+".onchange", c)
	}
}

func (v *vetter) unit(path, name string) {
	if !unit.MatchString(name) {
		v.error(path, "%q is not the full name of a systemd unit such as \"nginx.service\"", name)
	}
}

func (v *vetter) file(m lab.Machine, f lab.File) {
	at := m.Path("files", f.Path)
	switch {
	case !strings.HasPrefix(f.Path, "/"):
		v.error(at, "%q is not an absolute path", f.Path)
	case f.Path != path.Clean(f.Path) || f.Path == "/":
		v.error(at, "%q is not the plain path of a file", f.Path)
	}
	for _, dir := range ours {
		if f.Path == dir || strings.HasPrefix(f.Path, dir+"/") {
			v.error(at, "%s belongs to labctl itself", dir)
		}
	}
	if oursByName.MatchString(f.Path) {
		v.error(at, "files of this name belong to labctl itself")
	}
	mode, err := strconv.ParseUint(f.Mode, 8, 16)
	if err != nil || mode > 0o7777 {
		v.error(at+".mode", "%q is not an octal mode such as \"0644\"", f.Mode)
	}
	switch {
	case f.Secret != "" && (f.Text != "" || len(f.Fill) > 0):
		v.error(at, "a file has exactly one of text and secret")
	case f.From != nil && (f.Text != "" || f.Secret != "" || len(f.Fill) > 0):
		v.error(at, "a file that comes from elsewhere has no text, no secret and nothing to fill in")
	case !f.Public() && err == nil && mode&0o007 != 0:
		v.error(at+".mode", "mode %s lets everybody in the machine at a secret: use \"0600\", or \"0640\" with a group", f.Mode)
	}
	if f.Secret != "" {
		if text := v.noSecret(lab.SecretRef(f.Secret)); text != "" {
			v.error(at+".secret", "%s", text)
		}
	}
	for word, ref := range f.Fill {
		if text := v.noSecret(lab.SecretRef(ref)); text != "" {
			v.error(at+".fill", "%s: %s", word, text)
		} else if word == "" || !strings.Contains(f.Text, word) {
			v.error(at+".fill", "%q does not stand in the text", word)
		}
	}
	if f.From != nil {
		v.origin(m, at+".from", *f.From)
	}
	for _, u := range f.Restart {
		v.unit(at+".restart", u)
	}
	v.revealed(at+".text", f.Text)
}
