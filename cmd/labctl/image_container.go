package main

import (
	"context"
	"runtime"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// boxed is the container image that somebody means by name, and the architecture it is for: NAME, for this host's, or
// NAME-ARCH.
func boxed(name string) (string, lab.Arch, bool) {
	arch := lab.AMD64
	if runtime.GOARCH == string(lab.ARM64) {
		arch = lab.ARM64
	}
	for _, a := range []lab.Arch{lab.AMD64, lab.ARM64} {
		if short, ok := strings.CutSuffix(name, "-"+string(a)); ok {
			name, arch = short, a
		}
	}
	return name, arch, slices.Contains(image.Containers(), name)
}

// buildContainer is a getter for a container image, which is built anew.
func buildContainer(s image.Store, ctx context.Context, i lab.Image, progress func(string, int64, int64)) (image.Local, error) {
	dir, err := home()
	if err != nil {
		return image.Local{}, err
	}
	text, err := program(dir, "labctl-netboot", i.Arch)
	if err != nil {
		return image.Local{}, err
	}
	l, err := s.EnsureContainer(ctx, image.Container{Name: i.Name, Arch: i.Arch, Program: text}, true, progress)
	return image.Local{ID: l.ID, Name: i.Name, Arch: i.Arch, Disk: l.File, Format: "docker", Bytes: lab.Bytes(l.Length), Digest: "sha256:" + l.SHA256}, err
}
