package box

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// console is a machine's terminal: what it prints goes into a file and to the client, if there is one.
type console struct {
	master, slave *os.File
	log           *os.File

	mu     sync.Mutex // guards client
	client net.Conn
}

// openConsole makes the terminal, the log anew, and the socket.
func openConsole(dir string) (*console, error) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock a terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("number of a terminal: %w", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, ConsoleFile))
	if err != nil {
		return nil, err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), SocketFile) // a socket's path may have 107 bytes only
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	c := &console{master: master, slave: slave, log: log}
	go c.print()
	go c.accept(l)
	return c, nil
}

// print passes on what the machine prints, as long as this process lives.
func (c *console) print() {
	b := make([]byte, 4096)
	for {
		n, err := c.master.Read(b)
		if n > 0 {
			_, _ = c.log.Write(b[:n])
			c.mu.Lock()
			if c.client != nil {
				_ = c.client.SetWriteDeadline(time.Now().Add(time.Second)) // the machine does not wait for who does not read
				_, _ = c.client.Write(b[:n])
			}
			c.mu.Unlock()
		}
		if err != nil && !errors.Is(err, unix.EIO) {
			return
		}
	}
}

func (c *console) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		if c.client != nil {
			_, _ = conn.Write([]byte{Taken})
			conn.Close()
		} else if _, err := conn.Write([]byte{Free}); err == nil {
			c.client = conn
			go c.keys(conn)
		}
		c.mu.Unlock()
	}
}

// keys passes on what a client types until it leaves.
func (c *console) keys(conn net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := conn.Read(b)
		if n > 0 {
			_, _ = c.master.Write(b[:n])
		}
		if err != nil {
			break
		}
	}
	c.mu.Lock()
	c.client = nil
	c.mu.Unlock()
	conn.Close()
}
