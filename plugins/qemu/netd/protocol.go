package netd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/labctl-dev/labctl/install/serve"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/gateway"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/lease"
)

// Version is that of the control protocol: one JSON line asks, one answers. After a successful "dial" the connection
// is the machine's.
const Version = 3

const (
	// talk is how long a request or a response may take to cross the socket.
	talk = 10 * time.Second
	// maxRequest bounds a request, in bytes: a network of several thousand machines.
	maxRequest = 8 << 20
	// maxDial is how long a dial may take, and does take when nobody says less.
	maxDial = 30 * time.Second
)

// Code is the class of an Error.
type Code string

// The codes.
const (
	NotRunning  Code = "not-running" // no network process answers
	Ending      Code = "ending"      // it answers for the last time: try again soon
	WrongServer Code = "version"     // it speaks another version of the protocol: stop it and start it again
	InUse       Code = "in-use"      // another one holds the lock, or a port of the host
	Denied      Code = "denied"      // no permission for a port of the host
	Invalid     Code = "invalid"     // the request makes no sense
	NoNetwork   Code = "no-network"  // it has no network of that name
	Refused     Code = "refused"     // the machine is there, nothing listens at that port
	Timeout     Code = "timeout"     // no answer in time
	Unreachable Code = "unreachable" // no machine has the address, or no route leads to it
	Canceled    Code = "canceled"    // the caller gave up
	Failed      Code = "failed"      // anything else
)

// Error is what went wrong, at either end of the control socket.
type Error struct {
	Op   string `json:"op"` // "status", "set", "remove", "stop", "dial", "shell", "start"
	Code Code   `json:"code"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return "network process: " + e.Op + ": " + e.Text }

// CodeOf is the code of the *Error in err's chain; Timeout or Canceled for a context's; else Failed. "" for nil.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, gateway.ErrTimeout):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, gateway.ErrRefused):
		return Refused
	case errors.Is(err, gateway.ErrUnreachable):
		return Unreachable
	}
	return Failed
}

func fail(op string, code Code, format string, args ...any) *Error {
	return &Error{Op: op, Code: code, Text: fmt.Sprintf(format, args...)}
}

// DialRequest names a machine's TCP port on one network.
type DialRequest struct {
	Network string `json:"network"`
	// MAC of the machine's interface: its IPv6 link-local address is tried. Addr of the machine: tried at the same
	// time. At least one is set; the first connection wins.
	MAC  string     `json:"mac,omitempty"`
	Addr netip.Addr `json:"addr,omitzero"`
	Port uint16     `json:"port"`
}

type request struct {
	Version int           `json:"version"`
	Op      string        `json:"op"`
	Network *Network      `json:"network,omitempty"` // set
	Name    string        `json:"name,omitempty"`    // remove
	Dial    *DialRequest  `json:"dial,omitempty"`
	Shell   *ShellRequest `json:"shell,omitempty"`
	Within  int64         `json:"within,omitempty"` // milliseconds a dial may take
}

type response struct {
	Version int     `json:"version"`
	Error   *Error  `json:"error,omitempty"`
	Status  *Status `json:"status,omitempty"`
	Ending  bool    `json:"ending,omitempty"` // the process ends; the connection does when it has
}

// Status is what the process knows of itself.
type Status struct {
	Version  int             `json:"version"`
	PID      int             `json:"pid"`
	Started  time.Time       `json:"started"`
	Networks []NetworkStatus `json:"networks,omitempty"` // by name
}

// NetworkStatus is a network as it is.
type NetworkStatus struct {
	Network Network       `json:"network"` // as it was set
	Ports   []PortStatus  `json:"ports,omitempty"`
	Gateway GatewayStatus `json:"gateway"`
	Leases  []lease.Lease `json:"leases,omitempty"` // given by DHCP and not run out
	// Installs are the last that was heard of each machine that installs itself from here.
	Installs []serve.Status `json:"installs,omitempty"`
}

// PortStatus is one socket.
type PortStatus struct {
	Name      string      `json:"name"` // of the socket in the network's folder, or the path of one that was joined
	Connected bool        `json:"connected"`
	Since     time.Time   `json:"since,omitzero"`  // connected, or not, since
	Error     string      `json:"error,omitempty"` // why it is not connected, or was not before
	Redials   int         `json:"redials"`         // times the connection was lost
	Counters  l2.Counters `json:"counters"`
}

// GatewayStatus is labctl's own host on the network. Its counters see it as a machine: In is what it sent.
type GatewayStatus struct {
	MAC      string      `json:"mac"`
	Addr     netip.Addr  `json:"addr,omitzero"`
	Addr6    netip.Addr  `json:"addr6,omitzero"`
	Ping     string      `json:"ping,omitempty"` // how machines' pings to the outside are done, on an uplink
	Counters l2.Counters `json:"counters"`
}

// Conn is a unix connection that began with a line of JSON; what came right behind the line is not lost. It does not
// embed *net.UnixConn, whose WriteTo would pass that over.
type Conn struct {
	net.Conn
	buf *bufio.Reader
}

func newConn(c *net.UnixConn) *Conn { return &Conn{Conn: c, buf: bufio.NewReader(c)} }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if c.buf.Buffered() > 0 {
		return c.buf.Read(b)
	}
	return c.Conn.Read(b)
}

// CloseWrite ends the direction towards the other end; reading goes on.
func (c *Conn) CloseWrite() error { return c.Conn.(*net.UnixConn).CloseWrite() }

// readLine decodes one line of JSON of at most maxRequest bytes.
func (c *Conn) readLine(v any) error {
	var line []byte
	for {
		part, err := c.buf.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxRequest {
			return fmt.Errorf("more than %d bytes in a line", maxRequest)
		}
		if err == bufio.ErrBufferFull {
			continue
		}
		if err != nil {
			return err
		}
		return json.Unmarshal(line, v)
	}
}

func (c *Conn) writeLine(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := c.SetWriteDeadline(time.Now().Add(talk)); err != nil {
		return err
	}
	if _, err := c.Write(append(b, '\n')); err != nil {
		return err
	}
	return c.SetWriteDeadline(time.Time{})
}
