// Package seediso writes a lab.Seed as the ISO 9660 image that cloud-init's NoCloud data source looks for.
//
// It must not know what is in a seed, nor where the image goes.
package seediso

import (
	"bytes"
	"fmt"
	"io"

	"github.com/kdomanski/iso9660"

	"github.com/labctl-dev/labctl/lab"
)

// Label is the volume's name, by which ds-identify and cloud-init find it.
const Label = "CIDATA"

// Where the primary volume descriptor stands and which of its fields would differ from one writing to the next or
// from one host to another (ECMA-119 8.4).
const (
	descriptor   = 16 * 2048
	systemField  = descriptor + 8 // 32 bytes; the library puts the host's operating system there
	createdField = descriptor + 813
	changedField = descriptor + 830
	validField   = descriptor + 864
)

// Write writes the image of s to w. Equal seeds give equal bytes, on every host, at every time. While it works there
// is a folder of mode 0700 in os.TempDir with the seed in it.
func Write(w io.Writer, s lab.Seed) (err error) {
	iso, err := iso9660.NewWriter()
	if err != nil {
		return fmt.Errorf("cannot write the seed image of %s: %w", s.Machine, err)
	}
	defer func() {
		if e := iso.Cleanup(); err == nil && e != nil {
			err = fmt.Errorf("cannot remove the seed of %s from the temporary folder: %w", s.Machine, e)
		}
	}()
	for _, f := range []struct {
		name string
		text []byte
	}{{"user-data", s.UserData}, {"meta-data", s.MetaData}, {"network-config", s.NetworkConfig}} {
		if err := iso.AddFile(bytes.NewReader(f.text), f.name); err != nil {
			return fmt.Errorf("cannot add %s to the seed image of %s: %w", f.name, s.Machine, err)
		}
	}
	var image bytes.Buffer
	if err := iso.WriteTo(&image, Label); err != nil {
		return fmt.Errorf("cannot write the seed image of %s: %w", s.Machine, err)
	}
	b := image.Bytes()
	copy(b[systemField:], "LINUX                           ")
	for _, at := range []int{createdField, changedField, validField} {
		copy(b[at:], "2000010100000000\x00")
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("cannot write the seed image of %s: %w", s.Machine, err)
	}
	return nil
}

// ReadFile is what a file of an image says that Write has made. It is an error if there is none of that name.
func ReadFile(r io.ReaderAt, name string) ([]byte, error) {
	iso, err := iso9660.OpenImage(r)
	if err != nil {
		return nil, fmt.Errorf("cannot read the seed image: %w", err)
	}
	root, err := iso.RootDir()
	if err != nil {
		return nil, fmt.Errorf("cannot read the seed image: %w", err)
	}
	files, err := root.GetChildren()
	if err != nil {
		return nil, fmt.Errorf("cannot read the seed image: %w", err)
	}
	for _, f := range files {
		if f.Name() == name && !f.IsDir() {
			return io.ReadAll(f.Reader())
		}
	}
	return nil, fmt.Errorf("the seed image has no file %s", name)
}
