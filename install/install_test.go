package install

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/labctl-dev/labctl/image/gpt"
)

// imageOf is a disk of 12 MiB with three partitions as cloud images have them: the root is the first by number and the
// last on the disk. Half of it is zeros.
func imageOf(t *testing.T) []byte {
	t.Helper()
	const sectors = 12 << 11
	head, tail, err := gpt.Table(sectors, gpt.UUID{1}, []gpt.Partition{
		{Number: 1, Name: "root", Type: gpt.RootAMD64, ID: gpt.UUID{2}, Start: 8192, Count: sectors - 8192 - 2048, Flags: 1 << 59},
		{Number: 14, Type: gpt.BIOSBoot, ID: gpt.UUID{3}, Start: 2048, Count: 2048},
		{Number: 15, Type: gpt.ESP, ID: gpt.UUID{4}, Start: 4096, Count: 4096},
	})
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, sectors*sector)
	r := rand.NewChaCha8([32]byte{7})
	for at := headBytes; at < len(b); at += 2 << 20 {
		r.Read(b[at : at+headBytes])
	}
	r.Read(b[len(head):headBytes]) // what GRUB has between table and partitions
	copy(b, head)
	copy(b, "what a BIOS starts")
	copy(b[len(b)-len(tail):], tail)
	return b
}

func sourceOf(url string, b []byte) Source {
	sum := sha256.Sum256(b)
	return Source{URL: url, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(b))}
}

// server is a provisioner: what is at its paths, and what it was told.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	files   map[string][]byte
	cut     map[string][]int64 // after how many bytes the next connections for a path break
	asked   []string
	reports []Report
	crash   bool // the installer, when it has found its disk
}

// crashing is a console on which one line is a mistake of the installer's.
type crashing struct{ at string }

func (c *crashing) Write(b []byte) (int, error) {
	if c.at != "" && strings.Contains(string(b), c.at) {
		c.at = ""
		var none []byte
		_ = none[len(b)]
	}
	return len(b), nil
}

func newServer(t *testing.T) *server {
	s := &server{files: map[string][]byte{}, cut: map[string][]int64{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	var x Report
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&x); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Path+" "+r.Header.Get("Range"))
	if r.Method == http.MethodPost {
		s.reports = append(s.reports, x)
	}
	b, ok := s.files[r.URL.Path]
	cuts := s.cut[r.URL.Path]
	s.cut[r.URL.Path] = cuts[min(1, len(cuts)):]
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodPost:
		return
	case !ok:
		http.NotFound(w, r)
		return
	case len(cuts) > 0:
		from, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Range"), "bytes="), "-"), 10, 64)
		w.Header().Set("Content-Length", fmt.Sprint(int64(len(b))-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b)-1, len(b)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(b[from:min(int64(len(b)), from+cuts[0])])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// target is a machine with one disk of so many MiB.
type target struct {
	t    *testing.T
	file string
	in   Installer
	out  bytes.Buffer
}

func newTarget(t *testing.T, s *server, mib int) *target {
	t.Helper()
	x := &target{t: t}
	dir := t.TempDir()
	x.file = filepath.Join(dir, "dev", "vda")
	old := bytes.Repeat([]byte("what was there before "), mib<<20/22+1)[:mib<<20]
	x.write("dev/vda", string(old))
	x.write("sys/block/vda/size", fmt.Sprint(mib<<11))
	x.write("sys/block/vda/serial", "root\n")
	x.write("sys/block/vda/queue/logical_block_size", "512\n")
	x.write("sys/block/sr0/size", "2000\n")
	x.write("sys/block/sdz/size", "2000\n")
	x.write("sys/block/sdz/removable", "1\n")
	x.in = Installer{
		Connect: func(context.Context) error { return nil }, Server: s.URL + "/m", Console: &x.out,
		Sys: filepath.Join(dir, "sys"), Dev: filepath.Join(dir, "dev"), Settle: time.Second, Wait: time.Millisecond,
	}
	return x
}

func (x *target) write(name, content string) {
	x.t.Helper()
	f := filepath.Join(filepath.Dir(filepath.Dir(x.file)), name)
	if err := os.MkdirAll(filepath.Dir(f), 0o755); err != nil {
		x.t.Fatal(err)
	}
	if err := os.WriteFile(f, []byte(content), 0o644); err != nil {
		x.t.Fatal(err)
	}
}

// offer puts an image, a seed and the order for both on the server.
func (s *server) offer(t *testing.T, format Format, edit func(*Order)) {
	t.Helper()
	raw, seed := imageOf(t), bytes.Repeat([]byte("CD001 seed "), 3000)
	s.files["/image"], s.files["/seed"] = raw, seed
	if format == Zstd {
		z, err := zstd.NewWriter(nil)
		if err != nil {
			t.Fatal(err)
		}
		half := len(raw) / 2 // two frames
		s.files["/image"] = z.EncodeAll(raw[half:], z.EncodeAll(raw[:half], nil))
	}
	o := Order{Version: OrderVersion, Machine: "web", Seed: sourceOf(s.URL+"/seed", seed)}
	o.Image = Image{Source: sourceOf(s.URL+"/image", s.files["/image"]), Format: format, Size: int64(len(raw))}
	if edit != nil {
		edit(&o)
	}
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	s.files["/m/order"] = b
}

// TestInstall installs a disk and looks at every byte of it, with connections that break.
func TestInstall(t *testing.T) {
	for _, format := range []Format{Raw, Zstd} {
		t.Run(string(format), func(t *testing.T) {
			s := newServer(t)
			s.offer(t, format, nil)
			s.cut["/image"] = []int64{3 << 20, 0, 1000}
			s.cut["/seed"] = []int64{100}
			x := newTarget(t, s, 40)
			after, err := x.in.Run(t.Context())
			if err != nil || after != Restart {
				t.Fatalf("then %q, error %v\n%s", after, err, &x.out)
			}
			x.holds(imageOf(t), s.files["/seed"])
			last := s.reports[len(s.reports)-1]
			if want := (Report{Machine: "web", Phase: Finish, Number: 7, Of: 7, Percent: 100, Done: true, Retries: 4}); !cmp.Equal(want, last) {
				t.Errorf("the last report (-want +got)\n%s", cmp.Diff(want, last))
			}
			if got := strings.Join(s.asked, ","); !strings.Contains(got, fmt.Sprintf("/image bytes=%d-,/image bytes=%d-", 3<<20, 3<<20)) {
				t.Errorf("what was there was fetched again: %s", got)
			}
		})
	}
}

// holds says that the disk is the image with its root grown, and the seed at the end.
func (x *target) holds(image, seed []byte) {
	x.t.Helper()
	b, err := os.ReadFile(x.file)
	if err != nil {
		x.t.Fatal(err)
	}
	if !bytes.Equal(b[:bootCode], image[:bootCode]) || !bytes.Equal(b[gpt.Head*sector:headBytes], image[gpt.Head*sector:headBytes]) {
		x.t.Error("what a BIOS starts is not the image's")
	}
	old := len(image) - 2048*sector
	if !bytes.Equal(b[headBytes:old], image[headBytes:old]) {
		x.t.Error("the image is not on the disk")
	}
	disk, parts, err := gpt.Read(b)
	if err != nil {
		x.t.Fatal(err)
	}
	sectors := uint64(len(b) / sector)
	start := (sectors - gpt.Tail - uint64((len(seed)+sector-1)/sector)) / 2048 * 2048
	if disk != (gpt.UUID{1}) || len(parts) != 4 || parts[0].Count != start-8192 || parts[0].Flags != 1<<59 || parts[1].Number != 2 || parts[1].Start != start {
		x.t.Errorf("the table has %+v", parts)
	}
	if at := int(start) * sector; !bytes.Equal(b[at:at+len(seed)], seed) {
		x.t.Error("the seed is not in its partition")
	}
	out, err := exec.Command("partx", "-o", "NR,START,SECTORS,NAME", "-g", x.file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), seedName) {
		x.t.Errorf("partx: %v\n%s", err, out)
	}
	if tail := b[len(b)-sector:]; string(tail[:8]) != "EFI PART" {
		x.t.Error("the disk ends without a table")
	}
}

// TestInstallFails wants the phase and the reason, and that the disk does not boot.
func TestInstallFails(t *testing.T) {
	for name, c := range map[string]struct {
		mib    int
		edit   func(*Order)
		damage func(*server)
		phase  Phase
		want   string
	}{
		"another image":      {40, nil, func(s *server) { s.files["/image"][5<<20]++ }, Write, "is not what it should be"},
		"another image, zst": {40, nil, func(s *server) { s.files["/image"][len(s.files["/image"])/2]++ }, Write, "is not what it should be"},
		"no image":           {40, nil, func(s *server) { delete(s.files, "/image") }, Write, "answers 404"},
		"a shorter image":    {40, nil, func(s *server) { s.files["/image"] = s.files["/image"][:1000] }, Write, "it has 1000 bytes, the order says"},
		"no seed":            {40, nil, func(s *server) { delete(s.files, "/seed") }, Plant, "answers 404"},
		"a small disk":       {8, nil, nil, Write, "the disk has 8 MiB; the image needs 12 MiB"},
		"no room for a seed": {12, func(o *Order) { o.Seed.Length = 2 << 20 }, nil, Write, "the disk has 12 MiB; the image and the seed need 14 MiB"},
		"another disk":       {40, func(o *Order) { o.Disk.Serial = "data" }, nil, Choose, `no disk has serial "data"; there is vda (40 MiB, serial root)`},
		"no such machine":    {40, nil, func(s *server) { delete(s.files, "/m/order") }, Fetch, "knows no such machine"},
		"a strange order":    {40, nil, func(s *server) { s.files["/m/order"] = []byte(`{"version":1,"wipe":true}`) }, Fetch, `unknown field "wipe"`},
		"a crash":            {40, nil, func(s *server) { s.crash = true }, Choose, "a mistake in the installer: runtime error"},
		"a server that dies": {40, nil, func(s *server) { s.cut["/image"] = append([]int64{3 << 20}, make([]int64, 99)...) }, Write, "after 3145728 of"},
		"a wrong size":       {40, func(o *Order) { o.Image.Size -= 1 << 20 }, nil, Write, "larger than the"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			format := Zstd
			if name == "another image" || name == "a shorter image" {
				format = Raw
			}
			s.offer(t, format, c.edit)
			if c.damage != nil {
				c.damage(s)
			}
			x := newTarget(t, s, c.mib)
			if s.crash {
				x.in.Console = &crashing{at: "writing to disk"}
			}
			_, err := x.in.Run(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%v, want %q", err, c.want)
			}
			last := s.reports[len(s.reports)-1]
			if last.Phase != c.phase || last.Error != err.Error() || last.Done {
				t.Errorf("it reports %+v, want phase %s", last, c.phase)
			}
			b, err := os.ReadFile(x.file)
			if err != nil {
				t.Fatal(err)
			}
			touched := !bytes.HasPrefix(b, []byte("what was there"))
			if touched != (before(c.phase) != nil && len(before(c.phase)) >= len(before(Write)) && name != "a small disk") {
				t.Errorf("touched: %v", touched)
			}
			if touched && !zeros(b[:headBytes]) {
				t.Error("half written, and yet it may boot")
			}
		})
	}
}

func TestChoose(t *testing.T) {
	a := found{name: "vda", serial: "root", sectors: 1 << 20, block: 512, fixed: true}
	b := found{name: "vdb", serial: "data", sectors: 1 << 20, block: 512, fixed: true}
	stick := found{name: "sdz", sectors: 1 << 20, block: 512}
	big := found{name: "vdc", sectors: 1 << 20, block: 4096, fixed: true}
	for name, c := range map[string]struct {
		all    []found
		serial string
		want   string
	}{
		"the one":          {[]found{a, stick}, "", "vda"},
		"by serial":        {[]found{a, b}, "data", "vdb"},
		"one of several":   {[]found{a, b}, "", "several disks, and the order does not say which: vda (512 MiB, serial root), vdb"},
		"none":             {[]found{stick}, "", "no disk"},
		"two of a serial":  {[]found{a, a}, "root", "several disks have serial"},
		"sectors of 4 KiB": {[]found{big}, "", "sectors of 4096 bytes"},
	} {
		f, err := choose(c.all, Disk{c.serial})
		if got := f.name + fmt.Sprint(err); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %q", name, got, c.want)
		}
	}
}
