package guest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// receiver is this host as a machine, whose notes are in a folder of their own. It may lose the connection in the middle of what
// is sent.
type receiver struct {
	notes string
	lose  int64 // once, after this many bytes; 0 never
	bytes int64 // that have come in all
}

func (h *receiver) Run(ctx context.Context, cmd string, stdin io.Reader) (guest.Output, error) {
	cmd = strings.NewReplacer("/var/lib/labctl/delivered", h.notes, "exec sudo -n sh", "exec sh").Replace(cmd)
	c := exec.CommandContext(ctx, "sh", "-c", cmd)
	lost := false
	if stdin != nil {
		b, err := io.ReadAll(stdin)
		if err != nil {
			return guest.Output{}, err
		}
		if h.lose > 0 && int64(len(b)) > h.lose {
			b, h.lose, lost = b[:h.lose], 0, true
		}
		if !bytes.HasPrefix(b, []byte(`{"path"`)) { // no note
			h.bytes += int64(len(b))
		}
		c.Stdin = bytes.NewReader(b)
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return guest.Output{}, err
	}
	if lost {
		return guest.Output{}, errors.New("the connection ended")
	}
	return guest.Output{Stdout: out.Bytes(), Stderr: errs.Bytes(), Exit: c.ProcessState.ExitCode()}, nil
}

// content is a file that opens in memory.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func packed(name, text string) guest.Packed {
	sum := sha256.Sum256([]byte(text))
	return guest.Packed{Name: name, SHA256: hex.EncodeToString(sum[:]), Length: int64(len(text)), Open: func() (io.ReadSeekCloser, error) {
		return content{bytes.NewReader([]byte(text))}, nil
	}}
}

// What labctl brings comes once, goes on after a lost connection where it was, and comes again when it should be something
// else or was changed.
func TestDeliver(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "it's here", "images", "one")
	h := &receiver{notes: filepath.Join(dir, "notes")}
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	is := func(id string) lab.Machine {
		return lab.Machine{Name: "m", Guest: lab.Guest{Files: []lab.File{{Path: at, Mode: "0640", Owner: me.Uid, Group: me.Gid, From: &lab.Origin{Image: "one", ID: id}}, {Path: "/etc/x", Text: "x"}}}}
	}
	parcels := map[string]guest.Parcel{
		"a": {ID: "a", Items: []guest.Packed{packed("disk.zst", big), packed("image.json", "{}")}},
		"b": {ID: "b", Items: []guest.Packed{packed("disk.zst", big), packed("image.json", `{"b": 1}`)}},
	}
	opened := 0
	deliver := func(id string) (int, error) {
		return guest.Deliver(t.Context(), h, is(id), func(_ context.Context, _ lab.Machine, f lab.File, _ guest.Progress) (guest.Parcel, error) {
			opened++
			return parcels[f.From.ID], nil
		}, func(string, int64, int64) {})
	}
	want := func(what, id string, files, packs int, sent int64) {
		t.Helper()
		h.bytes, opened = 0, 0
		n, err := deliver(id)
		if err != nil || n != files || opened != packs || h.bytes != sent {
			t.Errorf("%s: %d files, %d bytes, packed %d times, %v; want %d, %d, %d", what, n, h.bytes, opened, err, files, sent, packs)
		}
		got, _ := os.ReadFile(filepath.Join(at, "disk.zst"))
		if info, err := os.Stat(filepath.Join(at, "disk.zst")); err != nil || string(got) != big || info.Mode().Perm() != 0o640 {
			t.Errorf("%s: the file is not what was sent: %v", what, err)
		}
		if left, _ := filepath.Glob(filepath.Join(at, ".*")); len(left) > 0 {
			t.Errorf("%s: left behind: %v", what, left)
		}
	}
	h.lose = 300_000
	want("first", "a", 2, 1, int64(len(big))+2) // not a byte twice
	want("again", "a", 0, 0, 0)
	want("another", "b", 1, 1, 8)
	if err := os.WriteFile(filepath.Join(at, "disk.zst"), []byte("changed"), 0o640); err != nil {
		t.Fatal(err)
	}
	want("changed", "b", 1, 1, int64(len(big)))
	if err := os.RemoveAll(h.notes); err != nil {
		t.Fatal(err)
	}
	want("no note", "b", 0, 1, 0) // it is compared by its digest
	wrong := packed("disk.zst", "not that")
	wrong.SHA256 = parcels["a"].Items[0].SHA256
	wrong.Length--
	parcels["c"] = guest.Parcel{ID: "c", Items: []guest.Packed{wrong}}
	if err := os.Remove(filepath.Join(at, "disk.zst")); err != nil {
		t.Fatal(err)
	}
	if _, err := deliver("c"); err == nil || !strings.Contains(err.Error(), "another digest") {
		t.Errorf("a wrong digest: %v", err)
	}
	if _, err := os.Stat(filepath.Join(at, "disk.zst")); err == nil {
		t.Error("a wrong file is in its place")
	}
}
