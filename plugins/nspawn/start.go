package nspawn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/nspawn/box"
	"github.com/labctl-dev/labctl/plugins/nspawn/room"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/failure"
)

// The deadlines of single steps, which take milliseconds unless the host is overloaded.
const (
	startDeadline = 60 * time.Second
	killDeadline  = 20 * time.Second
)

// machineWatches are the inotify instances that a machine takes, by and large, and moreWatches is what gives more.
const (
	machineWatches = 16
	moreWatches    = "sysctl -w fs.inotify.max_user_instances=1024"
)

// start starts a machine and returns when its first process runs. It belongs to nobody afterwards: it outlives the plugin
// and labctl.
func (s *nspawn) start(ctx context.Context, ds dirs, d definition, p provider.Progress) error {
	p(provider.Step{Phase: "starting"})
	for _, program := range []string{"systemd-nspawn", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			return &provider.Error{Code: provider.Missing, Text: program}
		}
	}
	if !watches(machineWatches) {
		return &provider.Error{Code: provider.Full, Text: "this host has too few inotify instances left for another machine: " + moreWatches}
	}
	if err := removeGroups(ctx, ds, d.Machine); err != nil { // of a run that ended by itself
		return err
	}
	plan, err := s.plan(ds, d)
	if err != nil {
		return err
	}
	if err := plan.Save(ds.machine(d.Machine)); err != nil {
		return failure.File(err)
	}
	ctx, cancel := context.WithTimeout(ctx, startDeadline)
	defer cancel()
	b, err := s.spawn(ds, d.Machine)
	if err != nil {
		return err
	}
	if err := s.letGo(ctx, ds, d, b); err != nil {
		_ = b.cmd.Process.Kill() // half started is not started; the next Create or Update tries again
		<-b.ended
		return err
	}
	return nil
}

// plan says how a machine is started.
func (s *nspawn) plan(ds dirs, d definition) (box.Plan, error) {
	l, err := ds.loadLabel(d.Machine, d.Attrs.root())
	if err != nil {
		return box.Plan{}, failure.File(err)
	}
	lower, err := s.tree(l.Image)
	if err != nil {
		return box.Plan{}, err
	}
	groups, err := makeGroups(ds, d)
	if err != nil {
		return box.Plan{}, err
	}
	m, err := json.Marshal(marks{d.Attrs.Disks, l.ID})
	if err != nil {
		return box.Plan{}, err
	}
	plan := box.Plan{Name: d.Machine, Lower: lower, Root: ds.root(d.Machine, d.Attrs.root()), Groups: groups, Marks: m}
	if exists(ds.seed(d.Machine)) {
		plan.Seed = ds.seed(d.Machine)
	}
	for _, name := range d.Attrs.Disks[1:] {
		plan.Disks = append(plan.Disks, box.Disk{File: ds.file(d.Machine, name), Device: "/dev/disk/by-id/labctl-" + name})
	}
	return plan, nil
}

// spawned is a machine's process that has just been started.
type spawned struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	ended chan struct{} // closed when it has been waited for
}

// spawn starts the machine's process, which waits.
func (s *nspawn) spawn(ds dirs, machine string) (*spawned, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	logFile, err := os.Create(filepath.Join(ds.machine(machine), box.LogFile))
	if err != nil {
		return nil, failure.File(err)
	}
	defer logFile.Close()
	cmd := exec.Command(exe, boxWord, ds.machine(machine))
	cmd.Dir, cmd.Stderr, cmd.SysProcAttr = "/", logFile, apart(true)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, failure.File(err)
	}
	b := &spawned{cmd: cmd, in: in, out: bufio.NewReader(out), ended: make(chan struct{})}
	go func() { // reaps the machine if it ends before this plugin does; else init does
		_ = cmd.Wait()
		close(b.ended)
	}()
	return b, nil
}

// letGo gives a machine's process its networks and lets it start.
func (s *nspawn) letGo(ctx context.Context, ds dirs, d definition, b *spawned) error {
	broken := context.AfterFunc(ctx, func() { _ = b.cmd.Process.Kill() })
	defer broken()
	line, err := b.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != box.Ready {
		return s.failed(ctx, ds, d.Machine)
	}
	pid := b.cmd.Process.Pid
	if err := ds.put(ds.machine(d.Machine), "process.json", process{pid, began(pid)}); err != nil {
		return err
	}
	if err := s.plug(ctx, ds, d, pid); err != nil {
		return err
	}
	if _, err := io.WriteString(b.in, box.Go); err != nil {
		return s.failed(ctx, ds, d.Machine)
	}
	b.in.Close()
	up := within(ctx, startDeadline, func() bool {
		select {
		case <-b.ended:
			return true
		default:
			first := children(pid) // asked once: it may have none the next time
			return len(first) > 0 && len(children(first[0])) > 0
		}
	})
	select {
	case <-b.ended:
		return s.failed(ctx, ds, d.Machine)
	default:
	}
	if !up {
		return s.failed(ctx, ds, d.Machine)
	}
	return nil
}

// children are the processes that a process has started and that run.
func children(pid int) []int {
	var all []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, l := range lists {
		b, _ := os.ReadFile(l)
		for _, w := range strings.Fields(string(b)) {
			var n int
			if _, err := fmt.Sscan(w, &n); err == nil && stat(n) != nil {
				all = append(all, n)
			}
		}
	}
	return all
}

// failed is why a machine did not start, by what it left in its logs.
func (s *nspawn) failed(ctx context.Context, ds dirs, machine string) error {
	if ctx.Err() != nil {
		return &provider.Error{Code: provider.CodeOf(ctx.Err()), Text: fmt.Sprintf("machine %s: systemd-nspawn was started but no machine came of it", machine)}
	}
	var words []string
	for _, name := range []string{box.ConsoleFile, box.LogFile} {
		b, _ := os.ReadFile(filepath.Join(ds.machine(machine), name))
		if lines := strings.Fields(string(b)); len(lines) > 0 {
			words = append(words, lastLines(string(b), 5))
		}
	}
	return &provider.Error{Code: provider.Internal, Text: "systemd-nspawn ended at once: " + strings.Join(words, "; ")}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(strings.ReplaceAll(s, "\r", "")), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "; ")
}

// plug makes the cables of a running machine what its definition says.
func (s *nspawn) plug(ctx context.Context, ds dirs, d definition, pid int) error {
	if len(d.Attrs.NICs) == 0 && !exists(filepath.Join(ds.room(), "socket")) {
		return nil
	}
	st, err := ds.client().Status(ctx)
	if err != nil {
		return roomError(err)
	}
	for _, c := range st.Cabled(d.Machine) {
		wanted := false
		for _, n := range d.Attrs.NICs {
			wanted = wanted || n.Network == c.Network && n.MAC == c.MAC
		}
		if !wanted {
			if err := ds.client().Unplug(ctx, c); err != nil {
				return roomError(err)
			}
		}
	}
	for _, n := range d.Attrs.NICs {
		c := room.Cable{Network: n.Network, Machine: d.Machine, MAC: n.MAC, Up: n.Link == lab.Up, Device: nft.Interface(n.Network), PID: pid}
		if err := ds.client().Plug(ctx, c); err != nil {
			return roomError(err)
		}
	}
	return nil
}

// stop ends a machine: by itself if grace is not 0, then by force. Not running is success.
func (s *nspawn) stop(ctx context.Context, ds dirs, machine string, grace time.Duration, p provider.Progress) error {
	if r, ok := s.running(ds, machine); ok {
		start := began(r.pid)
		if grace > 0 {
			p(provider.Step{Phase: "shutting down"})
			if err := syscall.Kill(r.pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
				return failure.File(err)
			}
			gone(ctx, r.pid, start, grace)
		}
		if ctx.Err() != nil {
			return failure.File(ctx.Err())
		}
		if began(r.pid) == start {
			p(provider.Step{Phase: "powering off"})
			if err := syscall.Kill(r.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return failure.File(err)
			}
		}
		if !gone(ctx, r.pid, start, killDeadline) {
			return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("machine %s: process %d did not end within %s of SIGKILL", machine, r.pid, killDeadline)}
		}
	}
	if err := removeGroups(ctx, ds, machine); err != nil {
		return err
	}
	if err := os.Remove(ds.process(machine)); err != nil && !os.IsNotExist(err) {
		return failure.File(err)
	}
	return nil
}
