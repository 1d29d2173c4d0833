package check

import (
	"maps"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// origin checks where something in a machine comes from.
func (v *vetter) origin(m lab.Machine, path string, o lab.Origin) {
	if o.URL != "" {
		v.url(path+".url", o.URL, "http", "https")
	}
	if (o.URL != "" || o.File != "") && (len(o.SHA256) != digestLengths["sha256"] || strings.Trim(o.SHA256, "0123456789abcdef") != "") {
		v.error(path+".sha256", "%q is not a sha256 digest of 64 hex digits", o.SHA256)
	}
	if _, ok := v.images[o.Image]; o.Image != "" && !ok {
		v.error(path+".image", "no machine of the lab is made from an image called %q%s", o.Image, lab.Meant(o.Image, slices.Collect(maps.Keys(v.images))))
	}
	if x, ok := v.lab.Machine(o.Installer); o.Installer != "" && (!ok || x.Installer == nil) {
		v.error(path+".installer", "no machine called %q is made by a distribution's installer", o.Installer)
	}
	if o.Seed != "" {
		v.seed(m, path+".seed", o.Seed)
	}
}

// seed checks that the machine whose seed is in m is one of the lab, and that it has not m's in turn: neither could be known
// before the other.
func (v *vetter) seed(m lab.Machine, path, name string) {
	other, ok := v.lab.Machine(name)
	switch {
	case !ok:
		var names []string
		for _, m := range v.lab.Machines {
			names = append(names, m.Name)
		}
		v.error(path, "there is no machine called %q%s", name, lab.Meant(name, names))
	case !other.Ours():
		v.error(path, "machine %s is not made by labctl, so it has no seed", name)
	case slices.Contains(seedsBelow(v.lab, name), m.Name) || name == m.Name:
		v.error(path, "%s has the seed of %s in turn: neither can be made before the other", name, m.Name)
	}
}

// seedsBelow are the machines whose seeds are in a machine, or in one of those.
func seedsBelow(l lab.Lab, machine string) []string {
	var out []string
	for todo := []string{machine}; len(todo) > 0; todo = todo[1:] {
		m, _ := l.Machine(todo[0])
		for _, f := range m.Guest.Brought() {
			if name := f.From.Seed; name != "" && !slices.Contains(out, name) {
				out, todo = append(out, name), append(todo, name)
			}
		}
	}
	return out
}
