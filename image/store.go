package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// The files of an image's folder. Names that begin with a dot are the store's own: locks, downloads, builds.
const (
	diskFile   = "disk.qcow2"
	kernelFile = "vmlinuz"
	initrdFile = "initrd"
	recordFile = "image.json"
)

// Store keeps images in Dir, one folder each, for all labs and all processes of a user at once.
type Store struct {
	Dir   string        // absolute; made when the first image comes
	Stall time.Duration // how long a download may stand still; 0 is 30 seconds
}

// record is image.json: a Local without its place, and the digests of all files.
type record struct {
	ID      string            `json:"id"`
	Name    string            `json:"name"`
	Arch    lab.Arch          `json:"arch"`
	Size    lab.Bytes         `json:"size"`
	Kernel  string            `json:"kernel,omitempty"`
	Initrd  string            `json:"initrd,omitempty"`
	Cmdline string            `json:"cmdline,omitempty"`
	Digests map[string]string `json:"digests"` // by file name
}

// short is an image's folder: the beginning of its digest in hex, and of a baked one what it has besides.
func short(id string) string {
	hex, baked, _ := strings.Cut(id[strings.LastIndexByte(id, ':')+1:], "+")
	hex = hex[:min(len(hex), 16)]
	if baked != "" {
		hex += "+" + baked
	}
	return hex
}

// Short is the beginning of id that people use: what Remove takes and List's folders are called.
func Short(id string) string { return short(id) }

// Find is the image if it is in the store; it reads no more than its record. Use Ensure before a machine uses it.
func (s Store) Find(i lab.Image) (Local, bool, error) {
	id := ID(i)
	if id == "" {
		return Local{}, false, fail(Invalid, i.Name, nil, "image %s has neither a digest nor a build", i.Name)
	}
	l, ok, err := s.load(short(id))
	if err != nil || !ok {
		return Local{}, false, err
	}
	if l.ID != id {
		return Local{}, false, corrupt(l, filepath.Join(s.Dir, short(id), recordFile), "is the record of "+l.ID)
	}
	return l, true, nil
}

func (s Store) load(folder string) (Local, bool, error) {
	dir := filepath.Join(s.Dir, folder)
	r, err := readRecord(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Local{}, false, nil
	}
	if err != nil {
		return Local{}, false, fail(Denied, folder, err, "cannot read the record of image %s", folder)
	}
	l := Local{
		ID: r.ID, Name: r.Name, Arch: r.Arch, Disk: filepath.Join(dir, diskFile), Format: "qcow2", Size: r.Size,
		Digest: r.Digests[diskFile], Cmdline: r.Cmdline,
	}
	if r.Kernel != "" {
		l.Kernel = filepath.Join(dir, r.Kernel)
	}
	if r.Initrd != "" {
		l.Initrd = filepath.Join(dir, r.Initrd)
	}
	for name := range r.Digests {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			return Local{}, false, corrupt(l, filepath.Join(dir, name), "cannot be read: "+err.Error())
		}
		l.Bytes += lab.Bytes(info.Size())
	}
	return l, true, nil
}

func readRecord(dir string) (record, error) {
	name := filepath.Join(dir, recordFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(b, &r); err != nil || r.Digests[diskFile] == "" || r.ID == "" {
		return record{}, corrupt(Local{ID: filepath.Base(dir)}, name, "is no record of an image")
	}
	return r, nil
}

func corrupt(l Local, file, why string) *Error {
	return fail(Corrupt, l.Name, nil, "%s %s; remove the image and get it again: labctl image rm %s", file, why, short(l.ID))
}

// Verify reads all files of an image and compares them with what was put there.
func (s Store) Verify(ctx context.Context, l Local) error {
	return verify(ctx, l, func(string, int64, int64) {})
}

func verify(ctx context.Context, l Local, progress Progress) error {
	dir := filepath.Dir(l.Disk)
	r, err := readRecord(dir)
	if err != nil {
		return fail(Corrupt, l.Name, err, "cannot verify image %s", l.Name)
	}
	names := make([]string, 0, len(r.Digests))
	for name := range r.Digests {
		names = append(names, name)
	}
	sort.Strings(names)
	var done int64
	for _, name := range names {
		file := filepath.Join(dir, name)
		got, n, err := sum(ctx, file, func(n int64) { progress("verifying", done+n, int64(l.Bytes)) })
		if err != nil {
			return fail(Corrupt, l.Name, err, "cannot verify image %s", l.Name)
		}
		if got != r.Digests[name] {
			return corrupt(l, file, fmt.Sprintf("is damaged: it has digest %s instead of %s", got, r.Digests[name]))
		}
		done += n
	}
	return nil
}

// sum is the digest of a file and its length; tell gets how far it is.
func sum(ctx context.Context, name string, tell func(int64)) (string, int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for n := int64(0); ; {
		k, err := f.Read(buf)
		h.Write(buf[:k])
		n += int64(k)
		if err == io.EOF {
			return "sha256:" + hex.EncodeToString(h.Sum(nil)), n, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return "", n, err
		}
		tell(n)
	}
}

// List is every image in the store, by name and then ID. A damaged one is an error beside the others.
func (s Store) List() ([]Local, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(Denied, "", err, "cannot list images")
	}
	var list []Local
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		l, ok, err := s.load(e.Name())
		if err != nil {
			errs = append(errs, err)
		} else if ok {
			list = append(list, l)
		}
	}
	sort.Slice(list, func(i, j int) bool {
		return list[i].Name < list[j].Name || list[i].Name == list[j].Name && list[i].ID < list[j].ID
	})
	return list, errors.Join(errs...)
}

// Remove deletes the image with that ID, name, or beginning of an ID (at least 4 hex digits), damaged or not, and what
// is left of an interrupted download or build of it. Whether a machine still uses it is for the caller to know: a disk
// made from a removed image is lost.
func (s Store) Remove(ctx context.Context, name string) error {
	folder, err := s.resolve(name)
	if err != nil {
		return err
	}
	unlock, err := s.lock(ctx, folder, func() {})
	if err != nil {
		return fail(Denied, name, err, "cannot remove image %s", name)
	}
	defer unlock()
	// The record goes first: half-removed is the same as not there.
	err = os.Remove(filepath.Join(s.Dir, folder, recordFile))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, d := range []string{filepath.Join(s.Dir, folder), s.work(folder)} {
		err = errors.Join(err, os.RemoveAll(d))
	}
	err = errors.Join(err, s.dropPart(folder))
	if err != nil {
		return fail(Denied, name, err, "cannot remove image %s", name)
	}
	return nil
}

// resolve is the folder of the one image that name means.
func (s Store) resolve(name string) (string, error) {
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fail(Denied, name, err, "cannot look for image %s", name)
	}
	var hits []string
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if e.Name() == name || e.Name() == short(name) { // an ID is the beginning of those of images baked from it
			return e.Name(), nil
		}
		r, err := readRecord(filepath.Join(s.Dir, e.Name()))
		byID := len(short(name)) >= 4 && strings.HasPrefix(e.Name(), short(name)) && (r.ID == "" || strings.Contains(r.ID, name))
		if byID || err == nil && r.Name == name {
			hits = append(hits, e.Name())
		}
	}
	switch len(hits) {
	case 0:
		return "", fail(NotFound, name, nil, "there is no image %s in %s", name, s.Dir)
	case 1:
		return hits[0], nil
	}
	return "", fail(Ambiguous, name, nil, "%s means several images in %s: %s; give one of these", name, s.Dir, strings.Join(hits, ", "))
}
