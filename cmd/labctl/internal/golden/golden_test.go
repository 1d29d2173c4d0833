package golden_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/golden"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

var (
	built = lab.Image{Name: "built", Arch: lab.AMD64, MinDisk: lab.GiB, Build: &lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"tree"}}}
	cloud = lab.Image{Name: "cloud", Arch: lab.AMD64, URL: "https://example.org/x.qcow2", Digest: "sha256:" + hex64}
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func demo() lab.Lab {
	m := func(name, image string, packages ...string) lab.Machine {
		return lab.Machine{Name: name, Image: image, Disks: []lab.Disk{{Name: "root", Size: 4 * lab.GiB}}, Guest: lab.Guest{User: "lab", Packages: packages}}
	}
	data := m("f", "built", "mariadb-server")
	data.Guest.Data = []lab.Data{{Path: "/var/lib/mysql", Disk: "mysql-1", Owner: "root", Group: "root", Mode: "0755"}}
	served := m("g", "built", "docker.io")
	served.Guest.Data = []lab.Data{{Path: "/srv/docker", Disk: "docker-1", Owner: "root", Group: "root", Mode: "0710"}}
	return lab.Lab{Name: "demo", Domain: "demo.lab", Images: []lab.Image{built, cloud}, Machines: []lab.Machine{
		m("a", "built", "sl", "mtr"), m("b", "built", "mtr", "sl", "tree"), m("c", "built", "tree"), m("d", "cloud", "tree"), m("e", "cloud"), data, served,
	}}
}

// TestWants: machines with the same image and the same missing packages want the same; what is in an image is not missing,
// and what
// fills a folder with a disk of its own is not baked, which nothing does below /srv.
func TestWants(t *testing.T) {
	l := demo()
	seeds, err := guest.Seeds(l, guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := golden.Wants(l, seeds)
	if err != nil {
		t.Fatal(err)
	}
	want := []golden.Want{
		{Base: built, Bake: image.Bake{Packages: []string{"mtr", "sl"}}, Machines: []string{"a", "b"}},
		{Base: cloud, Bake: image.Bake{Packages: []string{"tree"}}, Machines: []string{"d"}},
		{Base: built, Bake: image.Bake{Packages: []string{"docker.io"}}, Machines: []string{"g"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// TestKeep: a disk stays what it was made from; a new one takes what there is.
func TestKeep(t *testing.T) {
	l := demo()
	baked := image.Baked(built, image.Bake{Packages: []string{"mtr", "sl"}})
	older := image.Baked(built, image.Bake{Packages: []string{"mtr"}})
	other := image.Baked(lab.Image{Name: "built", Build: &lab.Build{Distribution: "debian", Release: "trixie"}}, image.Bake{})
	fresh := map[string]lab.Image{"a": baked, "b": baked}
	tests := map[string]struct {
		from  golden.From
		fresh map[string]lab.Image
		want  string // the image of a
	}{
		"nothing is there":        {golden.From{}, nil, "built"},
		"new":                     {golden.From{}, fresh, baked.Name},
		"made from the base":      {golden.From{"a": image.ID(built)}, fresh, "built"},
		"made from it":            {golden.From{"a": image.ID(baked)}, nil, baked.Name},
		"made from an older one":  {golden.From{"a": image.ID(older)}, fresh, older.Name},
		"seen by its file alone":  {golden.From{"a": "file:/pool/labctl-image-" + image.Short(image.ID(older)) + ".qcow2"}, nil, older.Name},
		"made from another's":     {golden.From{"a": image.ID(other)}, nil, "built"},
		"made from a longer name": {golden.From{"a": image.ID(built) + "+xyz"}, nil, "built"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, changed := golden.Keep(l, test.from, test.fresh)
			if m, _ := got.Machine("a"); m.Image != test.want || changed != (test.want != "built" || len(test.fresh) > 0 && test.from["b"] == "") {
				t.Errorf("machine a has image %s (changed: %t), want %s", m.Image, changed, test.want)
			}
			if i, ok := got.Image(test.want); !ok || test.want == older.Name && image.ID(i) != image.ID(older) {
				t.Errorf("image %s is not among the lab's, or is another: %+v", test.want, i)
			}
			if m, _ := l.Machine("a"); m.Image != "built" || len(l.Images) != 2 {
				t.Error("the lab that was asked about has changed")
			}
		})
	}
}
