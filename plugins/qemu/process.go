package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
	"github.com/labctl-dev/labctl/provider/files"
)

// The deadlines of single steps. QEMU answers within milliseconds unless its host is overloaded or it hangs.
const (
	answerDeadline = 10 * time.Second
	startDeadline  = 60 * time.Second
	killDeadline   = 10 * time.Second
)

// start starts a machine and returns when it answers over QMP. The process belongs to nobody afterwards: it outlives
// the plugin and labctl.
func (q *qemu) start(ctx context.Context, d definition, ds dirs, p provider.Progress) error {
	if err := q.finishRestore(ctx, d.Machine, ds, p); err != nil {
		return err
	}
	p(provider.Step{Phase: "starting"})
	h, err := q.host(ctx, d.Attrs.Arch)
	if err != nil {
		return err
	}
	if d.Attrs.Nested {
		if err := canNest(h); err != nil {
			return err
		}
	}
	if err := prepare(d, ds, h); err != nil {
		return err
	}
	logFile, err := os.OpenFile(ds.log(d.Machine), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return failure.File(err)
	}
	defer logFile.Close()
	d.HTTP = byHTTP(ctx, ds, d)
	cmd := exec.Command(h.Binary, commandLine(d, ds, h)...)
	cmd.Dir = ds.machine(d.Machine)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return failure.File(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // reaps the machine if it ends before this plugin does; else init does
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	for {
		select {
		case err := <-ended:
			out, _ := os.ReadFile(ds.log(d.Machine))
			return programError("QEMU ended at once", err, string(out))
		case <-ctx.Done():
			_ = cmd.Process.Kill() // half started is not started; the next Create or Update tries again
			return &provider.Error{Code: provider.CodeOf(ctx.Err()), Text: fmt.Sprintf("machine %s: QEMU was started but did not answer over QMP", d.Machine)}
		case <-time.After(25 * time.Millisecond):
		}
		if c, err := qmp.Dial(ctx, ds.qmp(d.Machine)); err == nil {
			pid := c.PID()
			c.Close()
			if pid == 0 || pid == cmd.Process.Pid {
				pid := cmd.Process.Pid
				return files.Write(ds.pid(d.Machine), fmt.Appendf(nil, "%d %s\n", pid, began(pid)), 0o644)
			}
		}
	}
}

// prepare makes what the command line refers to.
func prepare(d definition, ds dirs, h host) error {
	for _, n := range d.Attrs.NICs {
		if err := os.MkdirAll(filepath.Dir(ds.port(n.Network, d.Machine)), 0o700); err != nil {
			return failure.File(err)
		}
	}
	if !exists(ds.seed(d.Machine)) {
		if err := files.Write(ds.seed(d.Machine), make([]byte, 4096), 0o600); err != nil {
			return err
		}
	}
	if d.Attrs.Firmware != lab.UEFI {
		return nil
	}
	if h.Code == "" {
		return &provider.Error{Code: provider.Missing, Text: firmwareName(d.Attrs.Arch)}
	}
	if exists(ds.vars(d.Machine)) {
		return nil
	}
	vars, err := os.ReadFile(h.Vars)
	if err != nil {
		return failure.File(err)
	}
	return files.Write(ds.vars(d.Machine), vars, 0o600)
}

func firmwareName(arch lab.Arch) string {
	if arch == lab.ARM64 {
		return "qemu-efi-aarch64"
	}
	return "ovmf"
}

// monitor connects to a machine for changes; nil without error if it does not run.
func (q *qemu) monitor(ctx context.Context, ds dirs, machine, socket string) (*qmp.Client, error) {
	dctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	c, err := qmp.Dial(dctx, socket)
	switch {
	case err == nil:
	case qmp.Absent(err):
		return nil, nil
	case ctx.Err() != nil:
		return nil, failure.File(ctx.Err())
	case dctx.Err() == nil && !exists(socket): // it ended meanwhile
		return nil, nil
	case dctx.Err() == nil:
		if q.process(machine, ds) == 0 {
			return nil, nil // it has just ended
		}
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: QEMU does not speak QMP: %v", machine, err)}
	default:
		who := "QEMU"
		if pid := q.process(machine, ds); pid != 0 {
			who = fmt.Sprintf("QEMU, process %d,", pid)
		}
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: %s hangs: no answer over QMP within %s", machine, who, answerDeadline)}
	}
	var id struct {
		UUID string `json:"UUID"`
	}
	if err := c.Execute(dctx, "query-uuid", nil, &id); err != nil {
		c.Close()
		if dctx.Err() == nil && !errors.As(err, new(*qmp.Error)) {
			return nil, nil // it is just ending
		}
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: %v", machine, err)}
	}
	if id.UUID != uuid(ds.lab, q.target, machine) {
		c.Close()
		return nil, &provider.Error{Code: provider.Foreign, Text: fmt.Sprintf("the process %d at %s is not machine %s", c.PID(), socket, machine)}
	}
	return c, nil
}

// stop ends a machine: by itself if grace is not 0, then by QEMU, then by force. Not running is success.
func (q *qemu) stop(ctx context.Context, machine string, ds dirs, grace time.Duration, p provider.Progress) error {
	c, err := q.monitor(ctx, ds, machine, ds.qmp(machine))
	if err != nil && provider.CodeOf(err) != provider.Unavailable {
		return err
	}
	pid := 0
	switch {
	case c != nil:
		pid = c.PID()
		defer c.Close()
	case err == nil: // does not run, or has lost its sockets
		if pid = q.process(machine, ds); pid == 0 {
			return nil
		}
		_ = syscall.Kill(pid, syscall.SIGTERM) // QEMU quits, its disks in order
		if gone(ctx, pid, killDeadline) {
			return nil
		}
	default: // hangs: nothing but force is left
		pid = q.process(machine, ds)
	}
	if c != nil && grace > 0 {
		p(provider.Step{Phase: "shutting down"})
		if err := forget(ctx, c, machine, ds); err != nil {
			return err
		}
		if err := powerdown(ctx, c); err == nil && gone(ctx, pid, grace) {
			return nil
		}
		if ctx.Err() != nil {
			return failure.File(ctx.Err())
		}
	}
	p(provider.Step{Phase: "powering off"})
	if c != nil {
		qctx, cancel := context.WithTimeout(ctx, answerDeadline)
		_ = c.Execute(qctx, "quit", nil, nil) // a lost connection is the answer
		cancel()
		c.Close()
		if gone(ctx, pid, killDeadline) {
			return nil
		}
	}
	return q.kill(ctx, machine, ds, pid)
}

// kill ends a machine's process by force, if it is known to be the machine's.
func (q *qemu) kill(ctx context.Context, machine string, ds dirs, pid int) error {
	if pid <= 1 || !ours(pid, uuid(ds.lab, q.target, machine)) {
		return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s does not end, and process %d is not known to be its own", machine, pid)}
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return failure.File(err)
	}
	if !gone(ctx, pid, killDeadline) {
		return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: process %d did not end within %s of SIGKILL", machine, pid, killDeadline)}
	}
	return nil
}

// unhang ends a machine that was found hanging, unless it answers by now.
func (q *qemu) unhang(ctx context.Context, machine string, ds dirs, p provider.Progress) error {
	c, err := q.monitor(ctx, ds, machine, ds.qmp(machine))
	if c != nil {
		c.Close()
	}
	if pid := q.process(machine, ds); pid != 0 && provider.CodeOf(err) == provider.Unavailable {
		p(provider.Step{Phase: "powering off"})
		return q.kill(ctx, machine, ds, pid)
	}
	return err
}

// process is the process that a machine was last started as, if it still runs; else 0. It is known by its mark and
// when it began, not by its number alone. It is asked when QMP does not work: when QEMU hangs, or its sockets were deleted by somebody
// who tidied up /tmp, or by the end of a session.
func (q *qemu) process(machine string, ds dirs) int { return processOf(ds, machine) }

func processOf(ds dirs, machine string) int {
	b, err := os.ReadFile(ds.pid(machine))
	if err != nil {
		return 0
	}
	number, start, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	pid, err := strconv.Atoi(number)
	if err != nil || pid <= 1 || !alive(pid) || !ours(pid, uuid(ds.lab, ds.target, machine)) {
		return 0
	}
	if start != "" && start != began(pid) { // a labctl before this one wrote none
		return 0
	}
	return pid
}

func (ds dirs) pid(machine string) string { return filepath.Join(ds.machine(machine), "qemu.pid") }

// powerdown presses the power button; a paused machine is woken first, or it could not hear it.
func powerdown(ctx context.Context, c *qmp.Client) error {
	ctx, cancel := context.WithTimeout(ctx, answerDeadline)
	defer cancel()
	if err := c.Execute(ctx, "cont", nil, nil); err != nil {
		return err
	}
	err := c.Execute(ctx, "system_powerdown", nil, nil)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// gone waits until a process has ended, as long as patience lasts.
func gone(ctx context.Context, pid int, patience time.Duration) bool {
	deadline := time.Now().Add(patience)
	for {
		if !alive(pid) {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(20 * time.Millisecond):
		}
	}
}
