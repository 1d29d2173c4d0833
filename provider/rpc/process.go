package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// drain is how long the outputs of a dead plugin are still read: whoever inherited them may hold them open for ever.
const drain = 200 * time.Millisecond

// process is the plugin's process, as go-plugin's runner. Its own are: the process group, the tie to our life, the log,
// and an end that does not wait for those who inherited the log.
type process struct {
	path    string
	extra   []string // environment
	env     []string // go-plugin's
	sockets string   // go-plugin's folder for the socket
	tail    *tail
	output  *output

	startErr error
	gone     chan struct{} // closed when it is dead and its log is read

	mu     sync.Mutex
	cmd    *exec.Cmd
	alive  bool
	killed bool // by us, while it lived
	doomed bool // was to be killed before it was there
	err    error
}

func newProcess(path string, env []string, t *tail) *process {
	return &process{path: path, extra: env, tail: t, output: &output{end: make(chan struct{})}, gone: make(chan struct{})}
}

// Start implements runner.Runner.
func (p *process) Start(context.Context) error {
	started := make(chan error)
	go p.live(started)
	p.startErr = <-started
	return p.startErr
}

// live runs the process from its start to its end. It keeps its thread, because on Linux a child's tie to its parent's
// life is a tie to the thread that started it.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer close(p.gone)
	cmd := exec.Command(p.path)
	cmd.Env = append(append([]string(nil), p.env...), p.extra...)
	cmd.SysProcAttr = tied()
	ours, err := connect(cmd)
	if err != nil {
		started <- err
		return
	}
	defer ours.close()
	err = startFresh(cmd)
	for _, f := range []any{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		f.(*os.File).Close() // the child's ends, see connect
	}
	if err != nil {
		started <- err
		return
	}
	p.output.from = ours.out
	p.mu.Lock()
	p.cmd, p.alive = cmd, true
	if p.doomed {
		p.end()
	}
	p.mu.Unlock()
	logged := make(chan struct{})
	go func() {
		p.tail.pump(ours.err)
		close(logged)
	}()
	started <- nil
	err = cmd.Wait()
	p.mu.Lock()
	p.alive, p.err = false, err
	p.mu.Unlock()
	deadline := time.Now().Add(drain)
	_ = ours.err.SetReadDeadline(deadline)
	_ = ours.out.SetReadDeadline(deadline)
	<-logged
	select {
	case <-p.output.end:
	case <-time.After(2 * drain): // go-plugin stops reading after a line that is too long for it
	}
}

// pipes are our ends of a process's standard files.
type pipes struct{ in, out, err *os.File }

func (p pipes) close() {
	for _, f := range []*os.File{p.in, p.out, p.err} {
		f.Close()
	}
}

// connect gives cmd pipes.
func connect(cmd *exec.Cmd) (pipes, error) {
	inR, inW, err := os.Pipe()
	if err != nil {
		return pipes{}, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return pipes{}, errors.Join(err, inR.Close(), inW.Close())
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return pipes{}, errors.Join(err, inR.Close(), inW.Close(), outR.Close(), outW.Close())
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	return pipes{inW, outR, errR}, nil
}

// startFresh starts cmd, also when its file was written a moment ago and a fork elsewhere still holds it open for writing.
func startFresh(cmd *exec.Cmd) error {
	for try := 0; ; try++ {
		err := cmd.Start()
		if !errors.Is(err, syscall.ETXTBSY) || try == 5 {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		again := exec.Command(cmd.Path)
		again.Env, again.SysProcAttr, again.Stdin, again.Stdout, again.Stderr = cmd.Env, cmd.SysProcAttr, cmd.Stdin, cmd.Stdout, cmd.Stderr
		*cmd = *again
	}
}

// kill ends the process and what it started, unless that made a session of its own.
func (p *process) kill() {
	if p.closedOutput() { // it may be dying by itself, which is worth knowing
		select {
		case <-p.gone:
		case <-time.After(drain):
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.alive {
		p.end()
	}
	p.doomed = true
}

// end kills what lives; p.mu is held.
func (p *process) end() {
	p.killed = true
	killGroup(p.cmd.Process)
}

// died says whether the process has ended by itself.
func (p *process) died() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil && !p.alive && !p.killed
}

// state says how the process ended.
func (p *process) state() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.alive || p.cmd == nil:
		return "running"
	case p.err != nil:
		return p.err.Error()
	}
	return "exit status 0"
}

func (p *process) closedOutput() bool {
	select {
	case <-p.output.end:
		return true
	default:
		return false
	}
}

func (p *process) firstLine() string { return p.output.line() }

// Kill implements runner.AttachedRunner.
func (p *process) Kill(context.Context) error { p.kill(); return nil }

// Wait implements runner.AttachedRunner.
func (p *process) Wait(context.Context) error {
	<-p.gone
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// ID implements runner.AttachedRunner.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return ""
	}
	return fmt.Sprint(p.cmd.Process.Pid)
}

// Name implements runner.Runner.
func (p *process) Name() string { return p.path }

// Diagnose implements runner.Runner.
func (p *process) Diagnose(context.Context) string { return "" }

// Stdout implements runner.Runner.
func (p *process) Stdout() io.ReadCloser { return p.output }

// Stderr implements runner.Runner. go-plugin gets nothing: the log is read by the tail.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// PluginToHost implements runner.AddrTranslator.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin implements runner.AddrTranslator.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
