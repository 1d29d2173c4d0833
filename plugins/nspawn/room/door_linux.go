package room

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/labctl-dev/labctl/provider/site"
)

// door is a port of the host that leads to one of a machine.
type door struct {
	site.Forward
	l net.Listener
}

func (d *door) close() { d.l.Close() }

// listen opens a port of the host.
func (r *server) listen(f site.Forward) (*door, error) {
	d := &door{Forward: f}
	err := r.inHost(func() error {
		l, err := net.Listen("tcp", f.Listen.String())
		d.l = l
		return err
	})
	if err != nil {
		return nil, err
	}
	go d.accept()
	return d, nil
}

func (d *door) accept() {
	for {
		from, err := d.l.Accept()
		if err != nil {
			return
		}
		go d.relay(from)
	}
}

// relay joins a connection to the machine's port; who is refused there is broken off.
func (d *door) relay(from net.Conn) {
	defer from.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	to, err := new(net.Dialer).DialContext(ctx, "tcp", d.To.String())
	if err != nil {
		return
	}
	defer to.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			_ = way[0].(*net.TCPConn).CloseWrite()
			done <- struct{}{}
		}()
	}
	<-done
	<-done
}
