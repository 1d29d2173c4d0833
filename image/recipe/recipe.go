// Package recipe says what is inside an image that labctl builds: packages, archives, files, and what is switched off
// so that it boots fast. It is data and pure functions; the same recipe is the same image on every host.
//
// It must not know how a disk is made of it, run a program, or touch the file system.
package recipe

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// version changes when an image must be built anew though nothing of the recipe's text has changed: when the way a
// disk is made of it does.
const version = 1

// Recipe is everything that decides an image's content, the distribution's archive aside.
type Recipe struct {
	Version      int      `json:"version"`
	Distribution string   `json:"distribution"`
	Release      string   `json:"release"` // code name
	Arch         lab.Arch `json:"arch"`
	Packages     []string `json:"packages"` // all of them, sorted
	Sources      []Source `json:"sources"`  // as the image's own apt uses them
	Files        []File   `json:"files"`    // in place before packages are configured
	Script       string   `json:"script"`   // run inside by /bin/sh after packages are installed
	Cmdline      string   `json:"cmdline"`  // kernel command line without root=
}

// Source is one line of apt's sources.list.
type Source struct {
	URI        string   `json:"uri"`
	Suite      string   `json:"suite"`
	Components []string `json:"components"`
}

func (s Source) String() string {
	return fmt.Sprintf("deb %s %s %s", s.URI, s.Suite, strings.Join(s.Components, " "))
}

// File is a file or, with Link, a symbolic link, owned by root.
type File struct {
	Path string `json:"path"` // absolute
	Mode int64  `json:"mode,omitempty"`
	Text string `json:"text,omitempty"`
	Link string `json:"link,omitempty"`
}

// Check says why no image can be built of b for arch; nil if one can.
func Check(arch lab.Arch, b lab.Build) error {
	if _, ok := kernels[b.Distribution][arch]; !ok {
		if _, ok := kernels[b.Distribution]; !ok {
			return fmt.Errorf("distribution %q: labctl can build debian and ubuntu", b.Distribution)
		}
		return fmt.Errorf("architecture %q: labctl can build amd64 and arm64", arch)
	}
	if !word(b.Release) {
		return fmt.Errorf("release %q is no code name such as \"bookworm\"", b.Release)
	}
	for _, p := range b.Packages {
		if !word(p) {
			return fmt.Errorf("package %q is no package name", p)
		}
	}
	if strings.ContainsAny(b.Mirror, " \t\n[]'\"") || b.Mirror != "" && !strings.Contains(b.Mirror, ":/") {
		return fmt.Errorf("mirror %q is no URL", b.Mirror)
	}
	return nil
}

// word keeps what becomes part of a program's arguments to the characters that Debian allows in package names.
func word(s string) bool {
	for _, r := range s {
		if !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("+-.:", r)) {
			return false
		}
	}
	return s != "" && s[0] != '-'
}

// New is the recipe for b on arch. Order and repetition of b's packages make no difference.
func New(arch lab.Arch, b lab.Build) Recipe {
	packages := append(slices.Clone(base), kernels[b.Distribution][arch]...)
	packages = append(packages, b.Packages...)
	slices.Sort(packages)
	return Recipe{
		Version: version, Distribution: b.Distribution, Release: b.Release, Arch: arch,
		Packages: slices.Compact(packages),
		Sources:  sources(arch, b),
		Files:    files(arch, b.Release), Script: script, Cmdline: cmdline(arch),
	}
}

// Digest is "sha256:<hex>" of the recipe.
func (r Recipe) Digest() string {
	b, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers only: cannot happen
	}
	h := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(h[:])
}

// UUID is a fixed UUID for one part of the image, e.g. a partition: the same recipe always has the same ones.
func (r Recipe) UUID(part string) [16]byte {
	h := sha256.Sum256([]byte("uuid\x00" + part + "\x00" + r.Digest()))
	u := [16]byte(h[:16])
	u[6] = u[6]&0x0f | 0x80 // RFC 9562 version 8: of the maker's own making
	u[8] = u[8]&0x3f | 0x80
	return u
}
