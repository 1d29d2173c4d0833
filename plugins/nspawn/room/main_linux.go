package room

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// HostFD is the descriptor by which the room is given the host's network namespace.
const HostFD = 3

// Main is the room's main program; its process has been started in a new network namespace. args are the room's folder.
func Main(args []string) int {
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "room: the one argument is its folder")
		return 2
	}
	if err := run(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "room:", err)
		return 1
	}
	return 0
}

func run(dir string) error {
	// What this process starts ends with the thread that started it: the first thread is that one, and ends last.
	runtime.LockOSThread()
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("another one has the lab's networks: %w", err)
	}
	unix.CloseOnExec(HostFD)
	r := &server{dir: dir, host: os.NewFile(HostFD, "host"), jobs: make(chan func()), end: make(chan struct{}), networks: map[string]*network{}}
	if err := r.prepare(); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = os.Remove(via(folder)) // of one that was killed
	l, err := net.Listen("unix", via(folder))
	if err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	go r.accept(l)
	for {
		select {
		case job := <-r.jobs:
			job()
		case <-term:
			r.stop()
			return nil
		case <-r.end:
			r.stop()
			return nil
		}
	}
}

// server is the room. Everything is done by jobs on the first thread, one after the other.
type server struct {
	dir  string
	host *os.File // the host's network namespace
	jobs chan func()
	once sync.Once
	end  chan struct{} // closed when it has been told to stop

	networks map[string]*network
	outside  *outside // nil without uplinks
}

func (r *server) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go r.serve(conn)
	}
}

func (r *server) serve(conn net.Conn) {
	defer conn.Close()
	line, err := bufio.NewReaderSize(conn, 1<<16).ReadBytes('\n')
	if err != nil {
		return
	}
	var q request
	var a response
	if err := json.Unmarshal(line, &q); err != nil {
		a.Error = err.Error()
	} else {
		done := make(chan struct{})
		r.jobs <- func() {
			defer close(done)
			a = r.answer(q)
		}
		<-done
	}
	b, err := json.Marshal(a)
	if err != nil {
		return
	}
	if q.Op == "stop" { // the connection ends with the process
		r.once.Do(func() { close(r.end) })
		select {}
	}
	_, _ = conn.Write(append(b, '\n'))
}

func (r *server) answer(q request) response {
	var err error
	var st *Status
	switch {
	case q.Op == "status":
		st, err = r.status()
	case q.Op == "set" && q.Network != nil:
		err = r.set(*q.Network)
	case q.Op == "remove":
		err = r.remove(q.Name)
	case q.Op == "plug" && q.Cable != nil:
		err = r.plug(*q.Cable)
	case q.Op == "unplug" && q.Cable != nil:
		err = r.unplug(*q.Cable)
	case q.Op == "stop":
	default:
		err = fmt.Errorf("no such request: %q", q.Op)
	}
	if err != nil {
		return response{Error: err.Error()}
	}
	return response{Status: st}
}
