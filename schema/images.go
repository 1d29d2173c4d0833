package schema

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"cuelang.org/go/cue"

	"github.com/labctl-dev/labctl/lab"
)

// Catalogue returns the well-known images, sorted by name. An image for another architecture than amd64 has its name
// in the end: "debian-12-arm64".
func Catalogue() ([]lab.Image, error) {
	_, def, err := compiled()
	if err != nil {
		return nil, err
	}
	return decodeImages(def.LookupPath(cue.ParsePath("#Catalogue")))
}

func decodeImages(v cue.Value) ([]lab.Image, error) {
	text, err := v.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of images: %w", err)
	}
	var docs map[string]imageDoc
	if err := json.Unmarshal(text, &docs); err != nil {
		return nil, fmt.Errorf("cannot read the catalogue of images: %w", err)
	}
	d := &decoder{}
	var out []lab.Image
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		out = append(out, d.image(name, docs[name]))
	}
	return out, d.problems.sorted()
}

func (d *decoder) image(name string, i imageDoc) lab.Image {
	path := lab.Path("images", name)
	out := lab.Image{Name: name, Arch: lab.Arch(i.Arch), URL: i.URL, Kernel: i.Kernel, MinDisk: d.size(path+".min_disk", i.MinDisk)}
	if b := i.Build; b != nil {
		out.Build = &lab.Build{Distribution: b.Distribution, Release: b.Release, Mirror: b.Mirror,
			Packages: slices.Compact(slices.Sorted(slices.Values(b.Packages)))}
	}
	switch {
	case (i.URL == "") == (i.Build == nil):
		d.problem(path, "needs exactly one of url and build")
	case i.Build != nil && i.SHA256+i.SHA512 != "":
		d.problem(path, "has a digest, which only an image with a url can have")
	case i.URL != "" && (i.SHA256 == "") == (i.SHA512 == ""):
		d.problem(path, "needs exactly one of sha256 and sha512: the digest of what its url serves")
	case i.SHA256 != "":
		out.Digest = "sha256:" + strings.ToLower(i.SHA256)
	case i.SHA512 != "":
		out.Digest = "sha512:" + strings.ToLower(i.SHA512)
	}
	return out
}

// imageFor is the name of the image that a machine of this architecture means by name: itself, or NAME-ARCH where
// that is the one that fits. A name that fits nothing stays as it is, for check.Vet to report.
func (d *decoder) imageFor(name string, arch lab.Arch) string {
	if i, ok := d.images[name]; ok && i.Arch == arch {
		return name
	}
	if long := name + "-" + string(arch); d.images[long].Arch == arch {
		return long
	}
	return name
}
