package schema

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// sources are repositories of packages, for a machine of arch.
func (d *decoder) sources(path string, all map[string]sourceDoc, arch lab.Arch) []lab.Source {
	var out []lab.Source
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s := all[name]
		one := lab.Source{Name: name, URL: s.URL, Suites: s.Suites, Components: s.Components, Arches: s.Arches}
		if len(s.Arches) == 0 {
			one.Arches = []lab.Arch{arch}
		}
		one.Key.Fingerprint = strings.ToUpper(strings.ReplaceAll(s.Key.Fingerprint, " ", ""))
		at := path + "." + lab.Path("sources", name, "key")
		switch {
		case count(s.Key.URL != nil, s.Key.Text != nil, s.Key.File != nil) != 1:
			d.problem(at, "needs exactly one of url, text and file")
		case s.Key.URL != nil:
			one.Key.URL = *s.Key.URL
		case s.Key.Text != nil:
			one.Key.Text = *s.Key.Text
		default:
			one.Key.Text = d.keyFile(at+".file", *s.Key.File)
		}
		out = append(out, one)
	}
	return out
}

// keyFile is what a file has, as lab.Key.Text says it.
func (d *decoder) keyFile(path, name string) string {
	full := name
	if !filepath.IsAbs(full) {
		full = filepath.Join(d.folder, name)
	}
	text, err := os.ReadFile(full)
	switch {
	case err != nil:
		d.problem(path, "cannot read %s: %v", name, cause(err))
	case strings.HasPrefix(strings.TrimSpace(string(text)), "-----BEGIN PGP"):
		return string(text)
	}
	return base64.StdEncoding.EncodeToString(text)
}

func (d *decoder) users(all map[string]userDoc) []lab.Account {
	var out []lab.Account
	for _, name := range slices.Sorted(maps.Keys(all)) {
		u := all[name]
		out = append(out, lab.Account{
			Name: name, System: u.System, UID: u.UID, Home: u.Home, Shell: u.Shell,
			Groups: set(u.Groups), Password: u.Password, Authorized: u.Authorized,
		})
	}
	return out
}

// data gives a machine folders with a disk of their own, but those that it has already. It returns the folders.
func (d *decoder) data(path string, all map[string]dataDoc, m *lab.Machine) []string {
	folders := slices.Sorted(maps.Keys(all))
	for _, folder := range folders {
		if slices.ContainsFunc(m.Guest.Data, func(o lab.Data) bool { return o.Path == folder }) {
			continue
		}
		doc := all[folder]
		one := lab.Data{Path: folder, Disk: lab.DataDisk(folder), Owner: doc.Owner, Group: doc.Group, Mode: doc.Mode}
		one.Size = d.size(path+"."+lab.Path("data", folder, "size"), doc.Size)
		m.Guest.Data = append(m.Guest.Data, one)
		disk := lab.Disk{Name: one.Disk, Size: one.Size, Protect: doc.Protect}
		if len(m.Disks) > 0 {
			disk.Pool = m.Disks[0].Pool
		}
		m.Disks = append(m.Disks, disk)
	}
	slices.SortFunc(m.Guest.Data, func(a, b lab.Data) int { return strings.Compare(a.Path, b.Path) })
	return folders
}

// shares gives g the sources and users of a role, and m the folders with disks, but those that the machine has of its
// own. whose says which role has given what, by kind and name.
func (d *decoder) shares(h *held, made lab.Guest, m *lab.Machine, g *lab.Guest, whose map[string]string) {
	path := lab.Path(h.path...)
	own := m.Guest
	twice := func(what, name string) bool {
		other, ok := whose[what+" "+name]
		if ok {
			d.problem(path, "has %s %s, and so has the role %s of the same machine, otherwise", what, name, other)
		}
		whose[what+" "+name] = h.name
		return ok
	}
	for _, s := range made.Sources {
		same := func(o lab.Source) bool { return reflect.DeepEqual(o, s) }
		if slices.ContainsFunc(own.Sources, func(o lab.Source) bool { return o.Name == s.Name }) || slices.ContainsFunc(g.Sources, same) {
			continue
		}
		if !twice("the source", s.Name) {
			g.Sources = append(g.Sources, s)
		}
	}
	for _, u := range made.Users {
		same := func(o lab.Account) bool { return reflect.DeepEqual(o, u) }
		if slices.ContainsFunc(own.Users, func(o lab.Account) bool { return o.Name == u.Name }) || slices.ContainsFunc(g.Users, same) {
			continue
		}
		if !twice("the user", u.Name) {
			g.Users = append(g.Users, u)
		}
	}
	for _, folder := range d.data(path, h.doc.Data, m) {
		has := slices.ContainsFunc(own.Data, func(o lab.Data) bool { return o.Path == folder })
		if !has || whose["the data "+folder] != "" { // else it is the machine's own
			twice("the data", folder)
		}
	}
}
