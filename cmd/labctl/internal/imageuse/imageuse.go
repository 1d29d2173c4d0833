// Package imageuse finds out which labs use an image, so that none is removed from under a machine.
//
// It must not know any provider's files: it looks for the image's name in all of them.
package imageuse

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/lab"
)

// Labs lists the labs that use an image. Whatever a provider keeps about a machine names the image's folder near its
// beginning, be it the header of a disk or a definition; so no provider needs to be asked.
func Labs(s image.Store, l image.Local) []string {
	mark := []byte(filepath.Base(filepath.Dir(l.Disk)) + string(filepath.Separator) + filepath.Base(l.Disk))
	var users []string
	for _, folder := range []string{"labs", "kept"} { // kept: disks of protected machines that were deleted
		users = in(filepath.Join(filepath.Dir(s.Dir), folder), mark, users)
	}
	slices.Sort(users)
	return users
}

// in adds the labs to users that have files with mark in their folder below labs.
func in(labs string, mark []byte, users []string) []string {
	_ = filepath.WalkDir(labs, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // what cannot be read is not this user's
		}
		rel, err := filepath.Rel(labs, path)
		if err != nil {
			return nil
		}
		user, _, _ := strings.Cut(rel, string(filepath.Separator))
		if !slices.Contains(users, user) && begins(path, mark) {
			users = append(users, user)
		}
		return nil
	})
	return users
}

// begins says whether mark is in the first 64 KiB of a file.
func begins(path string, mark []byte) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 64<<10))
	return err == nil && bytes.Contains(head, mark)
}

// Free is an error if a lab uses the image.
func Free(s image.Store, i lab.Image) error {
	l, ok, err := s.Find(i)
	if err != nil || !ok {
		return nil // damaged or not there: nothing to lose
	}
	return free(s, l)
}

func free(s image.Store, l image.Local) error {
	if users := Labs(s, l); len(users) > 0 {
		return fmt.Errorf("image %s (%s) is used by lab %s: its machines' disks would be lost, or those that are kept of it; destroy the lab first and remove what is kept in %s, or say --force",
			l.Name, image.Short(l.ID), strings.Join(users, ", "), filepath.Join(filepath.Dir(s.Dir), "kept"))
	}
	return nil
}

// Removable is an error if a lab uses an image that name may mean.
func Removable(s image.Store, name string) error {
	have, err := s.List()
	if err != nil && len(have) == 0 {
		return nil // damaged ones: Remove says what is wrong
	}
	for _, l := range have { // an ID is the beginning of those of images baked from it
		if image.Short(l.ID) == image.Short(name) {
			return free(s, l)
		}
	}
	for _, l := range have {
		if l.Name == name || l.ID == name || strings.HasPrefix(image.Short(l.ID), name) {
			if err := free(s, l); err != nil {
				return err
			}
		}
	}
	return nil
}
