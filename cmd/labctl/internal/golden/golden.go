// Package golden says which images would spare a lab's machines the installing of packages, and which of those that are
// there a machine is made from. It is pure.
//
// A machine takes such an image only when its root disk is made: a disk stays what it was made from, whatever images come
// and go, and that is read off the disk.
//
// It must not know how an image is made, nor a provider.
package golden

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// Want is an image that machines would gain by, since the one that they have lacks packages.
type Want struct {
	Base     lab.Image
	Bake     image.Bake
	Machines []string // sorted
}

// Image is what is wanted.
func (w Want) Image() lab.Image { return image.Baked(w.Base, w.Bake) }

// Wants are the images that the lab's machines would gain by, one for each image and set of packages, in the order of
// their first machines. seeds are those of the lab, plan-time ones will do.
func Wants(l lab.Lab, seeds map[string]lab.Seed) ([]Want, error) {
	var wants []Want
	for _, m := range l.Machines {
		base, ok := l.Image(m.Image)
		if !ok || !m.Ours() || slices.ContainsFunc(m.Guest.Data, packaged) {
			continue
		}
		b, err := bake(base, m, seeds[m.Name])
		if err != nil {
			return nil, err
		}
		if len(b.Packages) == 0 {
			continue
		}
		id := image.ID(image.Baked(base, b))
		i := slices.IndexFunc(wants, func(w Want) bool { return image.ID(w.Image()) == id })
		if i < 0 {
			i = len(wants)
			wants = append(wants, Want{Base: base, Bake: b})
		}
		wants[i].Machines = append(wants[i].Machines, m.Name)
	}
	return wants, nil
}

// packaged says whether packages may fill a folder when they are installed, which for one with a disk of its own must happen
// in the machine. Below /srv, /home, /mnt and /media no package puts anything (Filesystem Hierarchy Standard 3.0).
func packaged(d lab.Data) bool {
	return !slices.ContainsFunc([]string{"/srv/", "/home/", "/mnt/", "/media/"}, func(dir string) bool { return strings.HasPrefix(d.Path, dir) })
}

// bake is what a machine needs that is not in its image. Of a downloaded image nobody knows what is in it.
func bake(base lab.Image, m lab.Machine, s lab.Seed) (image.Bake, error) {
	var d guest.Document
	if err := json.Unmarshal(s.Guest, &d); err != nil {
		return image.Bake{}, fmt.Errorf("cannot read the guest document of %s: %w", m.Name, err)
	}
	var have []string
	if base.Build != nil {
		have = recipe.New(base.Arch, *base.Build).Packages
	}
	b := image.Bake{Sources: m.Guest.Sources}
	for _, p := range d.Packages {
		if !slices.Contains(have, p) {
			b.Packages = append(b.Packages, p)
		}
	}
	slices.Sort(b.Packages)
	b.Packages = slices.Compact(b.Packages)
	return b, nil
}

// From is what root disks are made from, by machine: identities as providers observe them.
type From map[string]string

// Keep is the lab with the images that its disks were made from, where these are baked from the machines' images, and
// with images of new where a machine has no disk yet. changed says whether any is another than the lab says.
func Keep(l lab.Lab, from From, fresh map[string]lab.Image) (kept lab.Lab, changed bool) {
	machines := slices.Clone(l.Machines)
	used := map[string]lab.Image{}
	for i, m := range machines {
		base, ok := l.Image(m.Image)
		if !ok || !m.Ours() {
			continue
		}
		was := from[m.Name]
		hash := baked(base, was)
		other, isFresh := fresh[m.Name]
		switch {
		case hash != "":
			base.MinDisk, base.Baked = 0, hash
			base.Name += "+" + hash
			other = base
		case isFresh && was == "":
		default:
			used[base.Name] = base
			continue
		}
		machines[i].Image, used[other.Name], changed = other.Name, other, true
	}
	if !changed {
		return l, false
	}
	l.Machines, l.Images = machines, nil
	for _, i := range used {
		l.Images = append(l.Images, i)
	}
	slices.SortFunc(l.Images, func(a, b lab.Image) int { return strings.Compare(a.Name, b.Name) })
	return l, true
}

// baked is what an image has besides its base, if an identity is that of one; else "". Some providers tell no more of it
// than the name of its file.
func baked(base lab.Image, id string) string {
	for _, begin := range []string{image.ID(base) + "+", image.Short(image.ID(base)) + "+"} {
		if _, rest, ok := strings.Cut(id, begin); ok {
			hash := rest[:min(len(rest), hashLength)]
			if len(hash) == hashLength && strings.Trim(hash, "0123456789abcdef") == "" {
				return hash
			}
		}
	}
	return ""
}

// hashLength is that of lab.Image.Baked.
const hashLength = 12
