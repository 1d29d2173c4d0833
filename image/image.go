// Package image turns a lab's image into a verified file on this host: a digest-checked download, or a disk built here
// from a distribution's packages. What a plan needs to know of an image (ID) it knows without doing either.
//
// It must not know a hypervisor, a provider, where images are described (CUE), or who uses the files that it keeps.
package image

import (
	"github.com/labctl-dev/labctl/image/fetch"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// Local is an image in a Store. Paths are absolute; the files are read-only and never change.
type Local struct {
	ID      string    `json:"id"`   // see ID
	Name    string    `json:"name"` // what the lab that asked for it first called it
	Arch    lab.Arch  `json:"arch"`
	Disk    string    `json:"disk"`   // a self-contained disk image, good as a backing file
	Format  string    `json:"format"` // of Disk, in QEMU's terms: "qcow2"
	Size    lab.Bytes `json:"size"`   // of the disk as a machine sees it; a smaller root disk cannot hold it
	Bytes   lab.Bytes `json:"bytes"`  // on this host's disk, all files
	Digest  string    `json:"digest"` // "sha256:<hex>" of Disk
	Kernel  string    `json:"kernel,omitempty"`
	Initrd  string    `json:"initrd,omitempty"`  // needed by Kernel; "" when all it needs to find the root disk is built in
	Cmdline string    `json:"cmdline,omitempty"` // what Kernel needs to find its root and console; the hypervisor may add words
}

// ID is the identity of an image: the same ID is the same content. It is known without having the image: for a
// download "sha256:<hex>" or "sha512:<hex>" of what the URL serves, for a build "build:sha256:<hex>" of everything
// that labctl decides about its content. An image that is neither has the ID "". That of a baked image is its base's, "+"
// and what it has besides; so whoever sees it knows what it was made from.
func ID(i lab.Image) string {
	if i.Baked != "" {
		base := i
		base.Baked = ""
		return ID(base) + "+" + i.Baked
	}
	if i.Build != nil {
		return "build:" + recipe.New(i.Arch, *i.Build).Digest()
	}
	d, err := fetch.ParseDigest(i.Digest)
	if err != nil {
		return i.Digest
	}
	return d.String()
}
