package gce

import (
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// source is where the image of a lab comes from on Compute Engine: what the target's option says, or the public family
// of the same system. Those are images of the same release that the distribution makes for Google's cloud, and the newest
// of them when a disk is made: not the same bytes as elsewhere.
func (o options) source(i lab.Image) (string, bool) {
	if s, ok := o.Images[i.Name]; ok {
		return s, true
	}
	family := ""
	if b := i.Build; b != nil && b.Distribution == "debian" {
		family = map[string]string{"bullseye": "debian-11", "bookworm": "debian-12", "trixie": "debian-13"}[b.Release]
	}
	if family == "" {
		name := strings.TrimSuffix(strings.TrimSuffix(i.Name, "-arm64"), "-minimal")
		family = map[string]string{"debian-11": "debian-11", "debian-12": "debian-12", "debian-13": "debian-13",
			"ubuntu-22.04": "ubuntu-2204-lts", "ubuntu-24.04": "ubuntu-2404-lts"}[name]
	}
	switch {
	case strings.HasPrefix(family, "debian-"):
		if i.Arch == lab.ARM64 {
			family += "-arm64"
		}
		return "projects/debian-cloud/global/images/family/" + family, true
	case family == "ubuntu-2204-lts" && i.Arch != lab.ARM64:
		return "projects/ubuntu-os-cloud/global/images/family/" + family, true
	case family != "":
		return "projects/ubuntu-os-cloud/global/images/family/" + family + "-" + string(i.Arch), true
	}
	return "", false
}
