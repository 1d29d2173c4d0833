// Package install writes a machine's disk over the network: it fetches what to do, streams an image onto the disk,
// lets the image's last partition take the space that is left, and puts the machine's seed beside it. Each phase is
// reported as it goes. cmd/labctl-install is the program, the first process of an initrd.
//
// It must not know who serves what it fetches, nor what a lab is.
package install

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// OrderVersion is the version of Order that this installer understands.
const OrderVersion = 1

// Order is what a target is to do, as it fetches it: JSON.
type Order struct {
	Version int    `json:"version"`
	Machine string `json:"machine"` // for people
	Disk    Disk   `json:"disk"`
	Image   Image  `json:"image"`
	// Seed is the NoCloud image (ISO 9660, label CIDATA) that becomes the last partition.
	Seed  Source `json:"seed"`
	After After  `json:"after,omitempty"` // zero: Restart
}

// Disk says which of the machine's disks is written.
type Disk struct {
	// Serial is the disk's serial number; "" means that the machine has one disk and no more.
	Serial string `json:"serial,omitempty"`
}

// Image is a whole disk that boots.
type Image struct {
	Source
	Format Format `json:"format"`
	Size   int64  `json:"size"` // of the disk that it is an image of, in bytes: a multiple of 512
}

// Source is something that is fetched over http, or over https with the authorities that the initrd has.
type Source struct {
	URL    string `json:"url"`
	SHA256 string `json:"sha256"` // of what URL serves, 64 hex digits
	Length int64  `json:"length"` // of what URL serves, in bytes
}

// Format is how an image is served.
type Format string

const (
	Raw  Format = "raw"
	Zstd Format = "zstd" // raw, in one or several zstd frames
)

// After is what follows when the disk is written.
type After string

const (
	Restart  After = "restart"
	PowerOff After = "poweroff"
)

// ReadOrder reads an Order. A field that is not known is an error: what it asks for would not happen.
func ReadOrder(r io.Reader) (Order, error) {
	var o Order
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		return o, fmt.Errorf("the order is not readable: %w", err)
	}
	if o.Version != OrderVersion {
		return o, fmt.Errorf("the order has version %d; this installer knows %d", o.Version, OrderVersion)
	}
	if o.After == "" {
		o.After = Restart
	}
	return o, o.check()
}

func (o Order) check() error {
	switch {
	case !slices.Contains([]Format{Raw, Zstd}, o.Image.Format):
		return fmt.Errorf("the order's image.format is %q, not %q or %q", o.Image.Format, Raw, Zstd)
	case o.Image.Size <= 0 || o.Image.Size%sector != 0:
		return fmt.Errorf("the order's image.size is %d, not a positive multiple of %d", o.Image.Size, sector)
	case o.Image.Format == Raw && o.Image.Length != o.Image.Size:
		return fmt.Errorf("the order's image is raw, and its length %d is not its size %d", o.Image.Length, o.Image.Size)
	case !slices.Contains([]After{Restart, PowerOff}, o.After):
		return fmt.Errorf("the order's after is %q, not %q or %q", o.After, Restart, PowerOff)
	case o.Seed.Length > seedMost:
		return fmt.Errorf("the order's seed has %d bytes; at most %d fit", o.Seed.Length, seedMost)
	}
	for what, s := range map[string]Source{"image": o.Image.Source, "seed": o.Seed} {
		if err := s.check(); err != nil {
			return fmt.Errorf("the order's %s: %w", what, err)
		}
	}
	return nil
}

func (s Source) check() error {
	if b, err := hex.DecodeString(s.SHA256); err != nil || len(b) != 32 || strings.ToLower(s.SHA256) != s.SHA256 {
		return fmt.Errorf("sha256 is %q, not 64 hex digits", s.SHA256)
	}
	if s.Length <= 0 {
		return fmt.Errorf("length is %d, not a number of bytes", s.Length)
	}
	return checkURL(s.URL)
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is not the URL of an http server", text)
	}
	return nil
}
