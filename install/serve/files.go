package serve

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/install"
)

// The files of an image's folder.
const (
	diskFile  = "disk.zst"
	imageFile = "image.json"
)

// Image is image.json: what disk.zst is.
type Image struct {
	SHA256 string         `json:"sha256"` // of disk.zst, 64 hex digits
	Length int64          `json:"length"` // of disk.zst, in bytes
	Size   int64          `json:"size"`   // of the disk that it is an image of, in bytes
	Format install.Format `json:"format"`
}

// open opens a file of the folder. A name that comes from a request leads to nothing else.
func (s *Server) open(name string) (*os.File, error) {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return nil, fs.ErrNotExist
		}
	}
	return os.Open(filepath.Join(s.dir, filepath.FromSlash(name)))
}

// give answers with a file, or the range of it that is asked for.
func (s *Server) give(w http.ResponseWriter, r *http.Request, name string) {
	f, err := s.open(name)
	if err != nil {
		missing(w, name, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, f) // without a time: nobody asks whether what he has is still good
}

// missing tells a machine to ask again, for which 404 would be final: who serves may be told of a machine before it has the
// machine's image.
func missing(w http.ResponseWriter, name string, err error) {
	why := "cannot be read"
	if errors.Is(err, fs.ErrNotExist) {
		why = "is not here yet"
	}
	http.Error(w, name+" "+why, http.StatusServiceUnavailable)
}

// order tells a machine what to do.
func (s *Server) order(w http.ResponseWriter, r *http.Request) {
	t, ok := s.target(r.PathValue("mac"))
	if !ok {
		unknown(w, r)
		return
	}
	name := "images/" + t.Image + "/" + imageFile
	im, err := s.readImage(name)
	if err != nil {
		missing(w, name, err)
		return
	}
	seed := "seeds/" + t.Machine
	sum, err := s.sum(seed)
	if err != nil {
		missing(w, seed, err)
		return
	}
	o := install.Order{
		Version: install.OrderVersion, Machine: t.Machine, Disk: install.Disk{Serial: t.Serial},
		Image: install.Image{Source: install.Source{URL: base(r) + "/image/" + t.Image, SHA256: im.SHA256, Length: im.Length}, Format: im.Format, Size: im.Size},
		Seed:  install.Source{URL: base(r) + "/target/" + t.MAC + "/seed", SHA256: sum.sha256, Length: sum.length},
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o) // to a machine that has gone nobody needs to say so
}

func (s *Server) readImage(name string) (im Image, err error) {
	f, err := s.open(name)
	if err != nil {
		return im, err
	}
	defer f.Close()
	if err := json.NewDecoder(f).Decode(&im); err != nil {
		return im, fmt.Errorf("%s: %w", name, err)
	}
	return im, nil
}

// sum is the digest of a file, of the size and time that it had then.
type sum struct {
	sha256 string
	length int64
	time   time.Time
}

func (s *Server) sum(name string) (sum, error) {
	f, err := s.open(name)
	if err != nil {
		return sum{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return sum{}, err
	}
	s.mu.Lock()
	known, ok := s.sums[name]
	s.mu.Unlock()
	if ok && known.length == info.Size() && known.time.Equal(info.ModTime()) {
		return known, nil
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return sum{}, err
	}
	now := sum{hex.EncodeToString(h.Sum(nil)), n, info.ModTime()}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sums[name] = now
	return now, nil
}
