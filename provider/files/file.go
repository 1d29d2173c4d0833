// Package files is what providers do with the files of this host in which they keep a lab: one is replaced at once, and
// the log of a console is followed while it grows. It must not know what is in them.
package files

import (
	"os"
	"path/filepath"

	"github.com/labctl-dev/labctl/provider/failure"
)

// Write replaces a file at once, so that a crash leaves the old or the new content. Its folder must be there. An error has
// a provider's code.
func Write(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return failure.File(err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return failure.File(err)
}
