package nspawn

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
)

// run is a machine that runs.
type run struct {
	pid   int
	plan  box.Plan
	marks marks
}

// marks are what a running machine was started with, in its plan.
type marks struct {
	Disks []string `json:"disks,omitempty"` // as machineAttrs.Disks
	Root  string   `json:"root"`            // label.ID of the root disk
}

// process is process.json: which process a machine is, known by its number and when it began.
type process struct {
	PID   int    `json:"pid"`
	Began string `json:"began"`
}

func (ds dirs) process(machine string) string {
	return filepath.Join(ds.machine(machine), "process.json")
}

// running is the machine's process, if there is one.
func (s *nspawn) running(ds dirs, machine string) (run, bool) {
	var p process
	b, err := os.ReadFile(ds.process(machine))
	if err != nil || json.Unmarshal(b, &p) != nil || p.PID <= 1 || p.Began == "" || began(p.PID) != p.Began || !ours(p.PID, ds.machine(machine)) {
		return run{}, false
	}
	r := run{pid: p.PID}
	if r.plan, err = box.Load(ds.machine(machine)); err != nil || json.Unmarshal(r.plan.Marks, &r.marks) != nil {
		r.marks = marks{} // it is started anew, as it has no root
	}
	return r, true
}

// stat are the fields of /proc/PID/stat after the name (proc(5), from field 3); nil if there is no such process.
func stat(pid int) []string {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" { // one that has ended but was not yet waited for does not run
		return nil
	}
	return fields
}

// began tells one process from another that had its number before: when it was started, in the host's own terms; ""
// if it is gone.
func began(pid int) string {
	if f := stat(pid); f != nil {
		return f[19]
	}
	return ""
}

// ours says whether a process was started with a mark as a word of its command line.
func ours(pid int, mark string) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return err == nil && bytes.Contains(b, []byte("\x00"+mark+"\x00"))
}

// gone waits until a process has ended, as long as patience lasts.
func gone(ctx context.Context, pid int, start string, patience time.Duration) bool {
	return within(ctx, patience, func() bool { return began(pid) != start })
}

// within waits until ok, as long as patience lasts.
func within(ctx context.Context, patience time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(patience); !ok(); {
		if time.Now().After(deadline) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// allocated is what a file takes on its disk.
func allocated(st os.FileInfo) lab.Bytes {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return lab.Bytes(s.Blocks) * 512
	}
	return lab.Bytes(st.Size())
}
