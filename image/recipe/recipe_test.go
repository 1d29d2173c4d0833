package recipe_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// TestGolden holds the whole recipe and its digest. A change here means that every machine made from such an image is
// reinstalled by the next apply: mean it.
func TestGolden(t *testing.T) {
	for name, r := range map[string]recipe.Recipe{
		"bookworm-amd64": recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "bookworm"}),
		"trixie-arm64":   recipe.New(lab.ARM64, lab.Build{Distribution: "debian", Release: "trixie", Packages: []string{"chrony"}}),
		"noble-amd64":    recipe.New(lab.AMD64, lab.Build{Distribution: "ubuntu", Release: "noble", Mirror: "http://mirror.example/ubuntu/"}),
	} {
		t.Run(name, func(t *testing.T) {
			b, err := json.MarshalIndent(r, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got := r.Digest() + "\n" + string(b) + "\n"
			goldentest.File(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}

func TestDigest(t *testing.T) {
	b := lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"chrony", "bind9"}}
	one := recipe.New(lab.AMD64, b)
	b.Packages = []string{"bind9", "chrony", "bind9"}
	if two := recipe.New(lab.AMD64, b); two.Digest() != one.Digest() {
		t.Error("the order of packages makes another image")
	}
	seen := map[string]string{}
	for name, r := range map[string]recipe.Recipe{
		"one": one, "arm64": recipe.New(lab.ARM64, b),
		"release": recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "trixie", Packages: b.Packages}),
		"mirror":  recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "bookworm", Packages: b.Packages, Mirror: "http://m/debian"}),
		"fewer":   recipe.New(lab.AMD64, lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"bind9"}}),
	} {
		if other, ok := seen[r.Digest()]; ok {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[r.Digest()] = name
	}
	if one.UUID("root") == one.UUID("esp") || one.UUID("root") != one.UUID("root") {
		t.Error("UUIDs are not one for each part")
	}
}

func TestCheck(t *testing.T) {
	good := lab.Build{Distribution: "debian", Release: "bookworm", Packages: []string{"g++", "libc6-dev"}, Mirror: "http://m.example/debian"}
	if err := recipe.Check(lab.AMD64, good); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*lab.Build){
		"fedora":      func(b *lab.Build) { b.Distribution = "fedora" },
		"code name":   func(b *lab.Build) { b.Release = "" },
		"--hook":      func(b *lab.Build) { b.Release = "--hook" },
		"a b":         func(b *lab.Build) { b.Packages = []string{"a b"} },
		"--essential": func(b *lab.Build) { b.Packages = []string{"--essential"} },
		"mirror":      func(b *lab.Build) { b.Mirror = "http://m/debian [trusted=yes]" },
		"is no URL":   func(b *lab.Build) { b.Mirror = "m.example" },
	} {
		b := good
		change(&b)
		if err := recipe.Check(lab.AMD64, b); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	if err := recipe.Check("riscv64", good); err == nil {
		t.Error("riscv64 is accepted")
	}
}
