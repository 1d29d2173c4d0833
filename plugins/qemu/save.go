package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// A saved machine is two files: its memory, and saved.json, which is written when the memory is whole and says how the
// machine was built. Only while no process has gone on from that memory, saved.json may exist: else a machine would go
// back in time while its disks do not. So it is removed before any "cont".

// layout is how a running machine is built, down to the port that each device is in: its memory can be loaded by no
// other machine.
type layout struct {
	Board string            `json:"board"` // QEMU's machine type, with its version
	Ports int               `json:"ports"`
	At    map[string]string `json:"at,omitempty"` // port by device
}

// loading is the state, in QEMU's words, of a machine whose memory is being loaded, or is yet to be.
const loading = "inmigrate"

// pmsuspended is a machine whose guest went to sleep by itself (ACPI S3), in libvirt's word.
const pmsuspended = "pmsuspended"

// power is a state of QEMU's (RunState, https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html) in normal form.
func power(status string) string {
	switch status {
	case "running":
		return string(lab.On)
	case "paused", "finish-migrate", "postmigrate":
		return string(lab.Suspended)
	case loading:
		return string(lab.Saved)
	case "suspended":
		return pmsuspended
	}
	return status
}

const unsaveable = "with firmware \"kernel\" it boots from an NVMe disk, whose state QEMU cannot save; suspend it, or give it firmware \"bios\" or \"uefi\""

// canSave refuses, before anything is changed, to save a machine that QEMU cannot save.
func canSave(a machineAttrs) error {
	if a.Power == string(lab.Saved) && a.Firmware == lab.Kernel {
		return &provider.Error{Code: provider.Unsupported, Text: "the machine cannot be saved: " + unsaveable}
	}
	return nil
}

func (ds dirs) saved(machine string) string { return filepath.Join(ds.machine(machine), "saved.json") }
func (ds dirs) memory(machine string) string {
	return filepath.Join(ds.machine(machine), "memory.state")
}

// loadSaved is a saved machine as it was; nil if there is none.
func (ds dirs) loadSaved(machine string) (*definition, error) {
	b, err := os.ReadFile(ds.saved(machine))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failure.File(err)
	}
	var d definition
	if err := json.Unmarshal(b, &d); err != nil || d.Layout == nil {
		return nil, &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("%s is not what was written; delete it to start machine %s from its disks", ds.saved(machine), machine)}
	}
	return &d, nil
}

// dropSaved removes a machine's saved memory, whole or not.
func (ds dirs) dropSaved(machine string) error {
	for _, path := range []string{ds.saved(machine), ds.memory(machine), ds.memory(machine) + ".new"} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure.File(err)
		}
	}
	return nil
}

// forget ends a save that is under way, and removes what was saved: the machine is about to go on.
func forget(ctx context.Context, c *qmp.Client, machine string, ds dirs) error {
	s, err := migration(ctx, c)
	if err != nil {
		return err
	}
	if s.busy() {
		if err := c.Execute(ctx, "migrate_cancel", nil, nil); err != nil {
			return refusal(machine, err)
		}
		if err := cancelled(ctx, c, machine); err != nil {
			return err
		}
	}
	return ds.dropSaved(machine)
}

// cancelled waits for the end of a save.
func cancelled(ctx context.Context, c *qmp.Client, machine string) error {
	for deadline := time.Now().Add(stallDeadline); ; time.Sleep(20 * time.Millisecond) {
		s, err := migration(ctx, c)
		switch {
		case err != nil || !s.busy():
			return err
		case time.Now().After(deadline):
			return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("machine %s: the saving of its memory did not end within %s", machine, stallDeadline)}
		}
	}
}

// migrating is what QEMU says of writing memory, to which it is a migration like any other.
type migrating struct {
	Status string `json:"status"`
	Why    string `json:"error-desc"`
	RAM    struct {
		Transferred int64 `json:"transferred"`
		Remaining   int64 `json:"remaining"`
		Total       int64 `json:"total"`
	} `json:"ram"`
}

// busy says whether memory is being written.
func (m migrating) busy() bool {
	switch m.Status {
	case "", "none", "completed", "failed", "cancelled":
		return false
	}
	return true
}

func migration(ctx context.Context, c *qmp.Client) (migrating, error) {
	actx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	var m migrating
	err := c.Execute(actx, "query-migrate", nil, &m)
	return m, err
}

// stallDeadline is how long the writing of memory may make no progress.
const stallDeadline = 60 * time.Second

// save writes a machine's memory and ends its process. If that does not work out, the machine goes on as before.
func (q *qemu) save(ctx context.Context, c *qmp.Client, d definition, ds dirs, p provider.Progress) error {
	l, err := ask(ctx, c)
	if err != nil {
		return silent(d.Machine, err)
	}
	d.Attrs = running(l, d)
	d.Attrs.Power = string(lab.Saved)
	d.Layout = &layout{Board: l.board, Ports: len(l.busy), At: l.at}
	if err := q.writeMemory(ctx, c, d.Machine, l.status, ds, p); err != nil {
		return err
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("saved state of machine %s: %w", d.Machine, err)
	}
	if err := files.Write(ds.saved(d.Machine), append(b, '\n'), 0o600); err != nil {
		return err
	}
	c.Close()
	return q.stop(ctx, d.Machine, ds, 0, p)
}

// writeMemory writes the memory of a machine, which stands still from then on.
func (q *qemu) writeMemory(ctx context.Context, c *qmp.Client, machine, status string, ds dirs, p provider.Progress) (err error) {
	file := ds.memory(machine)
	f, err := os.OpenFile(file+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // what is in memory is secret
	if err != nil {
		return failure.File(err)
	}
	f.Close()
	defer func() {
		if err != nil { // also when ctx has ended
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerDeadline)
			defer cancel()
			if forget(ctx, c, machine, ds) == nil && status == "running" {
				_ = c.Execute(ctx, "cont", nil, nil)
			}
		}
	}()
	if status == "postmigrate" { // of which QEMU writes no memory again before it has run
		if err := c.Execute(ctx, "cont", nil, nil); err != nil {
			return refusal(machine, err)
		}
	}
	// The file gets its name when all is in it; if QEMU dies on the way it gets it, too, but then there is no saved.json.
	uri := fmt.Sprintf("exec:cat > %s && mv %s %s", quote(file+".new"), quote(file+".new"), quote(file))
	const unlimited = 1 << 40 // bytes a second
	for _, x := range []struct {
		cmd  string
		args any
	}{{"stop", nil}, {"migrate-set-parameters", map[string]any{"max-bandwidth": unlimited}}, {"migrate", map[string]any{"uri": uri}}} {
		if err := c.Execute(ctx, x.cmd, x.args, nil); err != nil {
			return refusal(machine, err)
		}
	}
	if err := written(ctx, c, machine, p); err != nil {
		return err
	}
	return flushed(ctx, machine, file)
}

// written waits until QEMU has written a machine's memory.
func written(ctx context.Context, c *qmp.Client, machine string, p provider.Progress) error {
	last, moved := int64(-1), time.Now()
	for {
		m, err := migration(ctx, c)
		if err != nil {
			return silent(machine, err)
		}
		if m.RAM.Transferred != last {
			last, moved = m.RAM.Transferred, time.Now()
		}
		switch {
		case m.Status == "completed":
			return nil
		case !m.busy():
			return &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("machine %s: its memory cannot be saved (is the disk full?): %s %s", machine, m.Status, m.Why)}
		case time.Since(moved) > stallDeadline:
			return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("machine %s: the saving of its memory made no progress for %s", machine, stallDeadline)}
		}
		p(provider.Step{Phase: "saving memory", Done: m.RAM.Total - m.RAM.Remaining, Total: m.RAM.Total})
		select {
		case <-ctx.Done():
			return failure.File(ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// flushed waits until the program between QEMU and the file has written the rest, and then for the disk.
func flushed(ctx context.Context, machine, file string) error {
	for deadline := time.Now().Add(stallDeadline); !exists(file); {
		if time.Now().After(deadline) {
			return &provider.Error{Code: provider.Timeout, Text: fmt.Sprintf("machine %s: its memory was written, but %s did not appear within %s; is the disk full?", machine, file, stallDeadline)}
		}
		select {
		case <-ctx.Done():
			return failure.File(ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return failure.File(err)
	}
	defer f.Close()
	return failure.File(f.Sync())
}

// quote makes a path one word of a shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// restore starts a machine with its saved memory. It stands still; forget comes before it goes on.
func (q *qemu) restore(ctx context.Context, s definition, ds dirs, p provider.Progress) error {
	if err := q.start(ctx, s, ds, p); err != nil {
		return err
	}
	c, err := q.monitor(ctx, ds, s.Machine, ds.qmp(s.Machine))
	if err != nil || c == nil {
		return err
	}
	defer c.Close()
	p(provider.Step{Phase: "loading memory"})
	if err := c.Execute(ctx, "migrate-incoming", map[string]any{"uri": "exec:cat < " + quote(ds.memory(s.Machine))}, nil); err != nil {
		return refusal(s.Machine, err)
	}
	if err := q.loaded(ctx, c, s.Machine, ds); err != nil {
		return err
	}
	g := &plugger{c: c, ds: ds, p: p}
	return refusal(s.Machine, g.links(ctx, s))
}

// loaded waits until a machine has its memory.
func (q *qemu) loaded(ctx context.Context, c *qmp.Client, machine string, ds dirs) error {
	pid := c.PID()
	for {
		var status struct{ Status string }
		actx, cancel := context.WithTimeout(ctx, stallDeadline)
		err := c.Execute(actx, "query-status", nil, &status)
		late := actx.Err() != nil
		cancel()
		m := migrating{}
		if err == nil {
			m, err = migration(ctx, c)
		}
		switch {
		case ctx.Err() != nil:
			return failure.File(ctx.Err())
		case late:
			return silent(machine, err)
		case err != nil || m.Status == "failed":
			gone(ctx, pid, answerDeadline)
			out, _ := os.ReadFile(ds.log(machine))
			return &provider.Error{Code: provider.Corrupt, Text: fmt.Sprintf("machine %s: its saved memory cannot be loaded; delete %s to start it from its disks: %s", machine, ds.saved(machine), lastLines(string(out), 3))}
		case status.Status != loading:
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// wake lets a machine go on that is saved; any other is left as it is.
func (q *qemu) wake(ctx context.Context, machine string, ds dirs, p provider.Progress) error {
	s, err := ds.loadSaved(machine)
	if err != nil || s == nil {
		return err
	}
	s.Attrs.Power = string(lab.On)
	d := *s
	d.Layout = nil
	return q.bringUp(ctx, d, ds, p)
}
