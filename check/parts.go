package check

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// parts checks repositories, folders with disks of their own, and accounts.
func (v *vetter) parts(m lab.Machine) {
	for _, s := range m.Guest.Sources {
		v.source(m.Path("sources", s.Name), s)
	}
	for _, d := range m.Guest.Data {
		v.data(m.Path("data", d.Path), d)
	}
	for _, u := range m.Guest.Users {
		v.account(m.Path("users", u.Name), m, u)
	}
}

func (v *vetter) source(path string, s lab.Source) {
	v.url(path+".url", s.URL, "http", "https")
	for _, suite := range s.Suites {
		switch flat := strings.HasSuffix(suite, "/"); {
		case flat && len(s.Components) > 0:
			v.error(path+".components", "the suite %q is a path, and has no components", suite)
		case !flat && len(s.Components) == 0:
			v.error(path+".components", "the suite %q needs a component such as \"main\"; a path that has none ends in \"/\"", suite)
		}
	}
	if s.Key.URL != "" {
		v.url(path+".key.url", s.Key.URL, "http", "https")
		return
	}
	found, err := fingerprints(s.Key.Text)
	switch {
	case err != nil:
		v.error(path+".key", "cannot read the key: %v", err)
	case !slices.Contains(found, s.Key.Fingerprint):
		v.error(path+".key.fingerprint", "the key has the fingerprint %s, not %s", strings.Join(found, " and "), s.Key.Fingerprint)
	}
}

// leastData is what a file system fits in.
const leastData = 64 * lab.MiB

// system are folders that are no data: without them, or with them hidden, a machine does not start or let labctl in.
var system = []string{"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/proc", "/root", "/run", "/sbin", "/sys", "/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/lib/dpkg", "/var/lib/apt", "/var/tmp"}

func (v *vetter) data(at string, d lab.Data) {
	below := func(dirs ...string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return d.Path == dir || strings.HasPrefix(d.Path, dir+"/") })
	}
	switch {
	case !strings.HasPrefix(d.Path, "/") || d.Path != path.Clean(d.Path):
		v.error(at, "%q is not the plain, absolute path of a folder", d.Path)
	case slices.Contains(system, d.Path) || below("/dev", "/etc", "/proc", "/run", "/sys", "/home/lab") || below(ours...):
		v.error(at, "%s belongs to the system: only a folder of data can have a disk of its own", d.Path)
	}
	if d.Size < leastData {
		v.error(at+".size", "%s is too little for a file system: give it %s or more", d.Size, leastData)
	}
	v.owned(at, d.Mode)
}

// owned checks permissions.
func (v *vetter) owned(path, mode string) {
	if n, err := strconv.ParseUint(mode, 8, 16); err != nil || n > 0o7777 {
		v.error(path+".mode", "%q is not an octal mode such as \"0750\"", mode)
	}
}

func (v *vetter) account(path string, m lab.Machine, u lab.Account) {
	if u.Name == "root" || u.Name == "lab" || u.Name == m.Guest.User {
		v.error(path, "%s is there already, and no account for a service: labctl itself sees to it", u.Name)
	}
	if u.Password != "" {
		if text := v.noSecret(lab.SecretRef(u.Password)); text != "" {
			v.error(path+".password", "%s", text)
		}
	}
	if len(u.Authorized) > 0 && u.System && u.Home == "" {
		v.error(path+".authorized", "a system account without home has no place for keys: give it a home")
	}
	for i, line := range u.Authorized {
		at := path + ".authorized." + strconv.Itoa(i)
		switch {
		case strings.Contains(line, "\n") || len(strings.Fields(line)) < 2:
			v.error(at, "%q is not one line of authorized_keys such as \"ssh-ed25519 AAAA... somebody\"", line)
		default:
			v.revealed(at, line)
		}
	}
}

// onchange checks that what runs a command again is a file of its machine: else it would never be run again.
func (v *vetter) onchange(m lab.Machine, path string, c lab.Command) {
	var files []string
	for _, f := range m.Guest.Files {
		files = append(files, f.Path)
	}
	for _, p := range c.OnChange {
		inside := func(file string) bool { return strings.HasSuffix(p, "/") && strings.HasPrefix(file, p) }
		if !slices.Contains(files, p) && !slices.ContainsFunc(files, inside) {
			v.error(path, "the machine has no file %s%s", p, lab.Meant(p, files))
		}
	}
}
