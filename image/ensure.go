package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/image/fetch"
	"github.com/labctl-dev/labctl/lab"
)

// Ensure is the image, in the store and verified: downloaded or built first if it is not there. It may be called by
// several processes at once; one does the work and the others wait for it. Interrupted, it leaves a download where it
// stopped, and of a build nothing that the next call would not clear away.
func (s Store) Ensure(ctx context.Context, i lab.Image, progress func(phase string, done, total int64)) (Local, error) {
	return s.ensure(ctx, i, progress, false)
}

// Build makes a built image anew, even if the store has it: the same recipe with the packages of today. Machines whose
// disks were made from the old one lose them.
func (s Store) Build(ctx context.Context, i lab.Image, progress func(phase string, done, total int64)) (Local, error) {
	if i.Build == nil {
		return Local{}, fail(Invalid, i.Name, nil, "image %s is not built but downloaded", i.Name)
	}
	return s.ensure(ctx, i, progress, true)
}

func (s Store) ensure(ctx context.Context, i lab.Image, progress Progress, anew bool) (Local, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	if err := check(i); err != nil {
		return Local{}, err
	}
	if !anew {
		if l, ok, err := s.use(ctx, i, progress); ok || err != nil {
			return l, err
		}
	}
	if i.Baked != "" {
		return Local{}, fail(NotFound, i.Name, nil, "image %s is not in %s, and only \"labctl image build --with-roles LAB\" makes it", i.Name, s.Dir)
	}
	return s.locked(ctx, i, anew, progress, func(work string) (record, error) {
		if i.Build != nil {
			return build(ctx, i, work, progress)
		}
		return s.pull(ctx, i, short(ID(i)), work, progress)
	})
}

// locked makes an image by fill, as the only process that does, unless another was quicker.
func (s Store) locked(ctx context.Context, i lab.Image, anew bool, progress Progress, fill func(work string) (record, error)) (Local, error) {
	folder := short(ID(i))
	unlock, err := s.lock(ctx, folder, func() { progress("waiting for another process", 0, 0) })
	if err != nil {
		return Local{}, fail(Denied, i.Name, err, "cannot get image %s", i.Name)
	}
	defer unlock()
	if !anew { // another process may have been quicker
		if l, ok, err := s.use(ctx, i, progress); ok || err != nil {
			return l, err
		}
	}
	if err := s.make(ctx, i, folder, progress, fill); err != nil {
		return Local{}, err
	}
	l, ok, err := s.Find(i)
	if err == nil && !ok {
		err = fail(Corrupt, i.Name, nil, "image %s was removed from %s while it was made", i.Name, s.Dir)
	}
	return l, err
}

// check refuses what cannot become an image, before anything is done.
func check(i lab.Image) error {
	switch {
	case i.Build != nil && i.URL != "":
		return fail(Invalid, i.Name, nil, "image %s has both a url and a build", i.Name)
	case i.Build != nil:
		return nil // see build
	case i.URL == "":
		return fail(Invalid, i.Name, nil, "image %s has neither a url nor a build", i.Name)
	case i.Kernel:
		return fail(Invalid, i.Name, nil, "image %s: only a built image can offer its kernel; start it by firmware \"bios\" or \"uefi\"", i.Name)
	}
	if _, err := fetch.ParseDigest(i.Digest); err != nil {
		return fail(Invalid, i.Name, nil, "image %s: %v", i.Name, err)
	}
	return nil
}

// use is the image from the store, verified.
func (s Store) use(ctx context.Context, i lab.Image, progress Progress) (Local, bool, error) {
	l, ok, err := s.Find(i)
	if err != nil || !ok {
		return Local{}, false, err
	}
	if err := verify(ctx, l, progress); err != nil {
		return Local{}, false, err
	}
	return l, true, fits(i, l.Size)
}

// fits refuses an image whose description promises that it fits on a smaller disk than it does.
func fits(i lab.Image, size lab.Bytes) error {
	if i.MinDisk == 0 || size <= i.MinDisk {
		return nil
	}
	return fail(Invalid, i.Name, nil, "image %s needs a disk of %s, and min_disk says %s", i.Name, size, i.MinDisk)
}

// make fills a temporary folder and renames it into place.
func (s Store) make(ctx context.Context, i lab.Image, folder string, progress Progress, fill func(work string) (record, error)) error {
	work := s.work(folder)
	err := os.RemoveAll(work)
	if err == nil {
		err = os.Mkdir(work, 0o755)
	}
	if err != nil {
		return fail(Denied, i.Name, err, "cannot make image %s", i.Name)
	}
	defer os.RemoveAll(work)
	r, err := fill(work)
	if err != nil {
		return err
	}
	if err := fits(i, r.Size); err != nil {
		return err
	}
	r.ID, r.Name, r.Arch = ID(i), i.Name, i.Arch
	if err := seal(ctx, work, r, progress); err != nil {
		return fail(Failed, i.Name, err, "cannot keep image %s", i.Name)
	}
	if err := replace(work, filepath.Join(s.Dir, folder)); err != nil {
		return fail(Denied, i.Name, err, "cannot keep image %s", i.Name)
	}
	return s.dropPart(folder)
}

// dropPart removes a download that has become an image, or that an image was removed with.
func (s Store) dropPart(folder string) error {
	if err := errors.Join(os.RemoveAll(s.part(folder)), os.RemoveAll(s.part(folder)+".json")); err != nil {
		return fail(Denied, "", err, "cannot remove a download")
	}
	return nil
}

// seal writes the record and makes all files read-only and lasting.
func seal(ctx context.Context, dir string, r record, progress Progress) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	r.Digests = map[string]string{}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		progress("verifying", 0, 0)
		if r.Digests[e.Name()], _, err = sum(ctx, name, func(int64) {}); err != nil {
			return err
		}
		if err := settle(name); err != nil {
			return err
		}
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	name := filepath.Join(dir, recordFile)
	if err := os.WriteFile(name, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return settle(name)
}

func settle(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Chmod(0o444), f.Close())
}

// replace renames dir to final. What was there before goes first; a crash in between leaves no image, never half of one.
func replace(dir, final string) error {
	old := dir + "-old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(final, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, final); err != nil {
		return err
	}
	return os.RemoveAll(old)
}

func (s Store) work(folder string) string { return filepath.Join(s.Dir, ".work-"+folder) }

func (s Store) part(folder string) string { return filepath.Join(s.Dir, ".part-"+folder) }

// lock keeps other processes from working on the same image. It waits as long as ctx allows; wait is called once if it
// has to.
func (s Store) lock(ctx context.Context, folder string, wait func()) (unlock func(), err error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(s.Dir, ".lock-"+folder), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for first := true; ; first = false {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // closing unlocks; the file stays, others may be waiting for it
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if first {
			wait()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("waiting for another process that makes it: %w", ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isDenied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)
}
