// Package tunnel is a way to a TCP port of an instance through Google's Identity-Aware Proxy: a byte stream in the frames
// of the protocol "relay.tunnel.cloudproxy.app" over a websocket. It is not documented; what is here is what gcloud does
// (googlecloudsdk/api_lib/compute/iap_tunnel_websocket_utils.py). A connection that is lost is not taken up again.
//
// It must not know what is said over the stream.
package tunnel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"golang.org/x/net/websocket"

	"github.com/labctl-dev/labctl/provider"
)

// Target is a port of an instance.
type Target struct {
	Project, Zone, Instance string
	Interface               string // "nic0"
	Port                    int
}

// The frames: a tag of two bytes, and for data and the session's name a length of four.
const (
	protocol = "relay.tunnel.cloudproxy.app"
	opened   = 1 // the instance's port is open; the session's name follows
	data     = 4
	ack      = 7 // how many bytes arrived so far, eight bytes
	largest  = 16 << 10
)

// Dial connects. relay is the proxy's base, "wss://tunnel.cloudproxy.app/v4"; token gives an access token, or "".
func Dial(ctx context.Context, relay string, t Target, token func(context.Context) (string, error)) (io.ReadWriteCloser, error) {
	q := url.Values{"project": {t.Project}, "zone": {t.Zone}, "instance": {t.Instance}, "interface": {t.Interface}, "port": {strconv.Itoa(t.Port)}, "newWebsocket": {"True"}}
	c, err := websocket.NewConfig(relay+"/connect?"+q.Encode(), "http://localhost")
	if err != nil {
		return nil, err
	}
	c.Origin = &url.URL{Scheme: "bot", Opaque: "iap-tunneler"}
	c.Protocol = []string{protocol}
	c.Header = http.Header{"User-Agent": {"labctl"}}
	secret, err := token(ctx)
	if err != nil {
		return nil, err
	}
	if secret != "" {
		c.Header.Set("Authorization", "Bearer "+secret)
	}
	ws, err := c.DialContext(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("the proxy %s does not let labctl through to it: %v", relay, err)}
	}
	ws.PayloadType = websocket.BinaryFrame
	s := &stream{ws: ws}
	stop := context.AfterFunc(ctx, func() { ws.Close() })
	defer stop()
	if err := s.open(); err != nil {
		ws.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("port %d does not answer through the proxy: %v", t.Port, err)}
	}
	return s, nil
}

// stream is an open connection.
type stream struct {
	ws      *websocket.Conn
	writing sync.Mutex
	rest    []byte // of a frame that Read has begun
	got     uint64 // bytes of data so far
	told    uint64 // how many of them the proxy knows of
}

// frame reads the next frame of the websocket.
func (s *stream) frame() (tag uint16, b []byte, err error) {
	if err := websocket.Message.Receive(s.ws, &b); err != nil {
		return 0, nil, err
	}
	if len(b) < 2 {
		return 0, nil, errors.New("the proxy sent a frame without a tag")
	}
	return binary.BigEndian.Uint16(b), b[2:], nil
}

// payload is what follows a length.
func payload(b []byte) ([]byte, error) {
	if len(b) < 4 || int(binary.BigEndian.Uint32(b)) > len(b)-4 {
		return nil, errors.New("the proxy sent a frame that is too short")
	}
	return b[4 : 4+binary.BigEndian.Uint32(b)], nil
}

// open waits until the instance's port is open.
func (s *stream) open() error {
	for {
		tag, _, err := s.frame()
		if err != nil {
			return err
		}
		if tag == opened {
			return nil
		}
	}
}

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 {
		tag, b, err := s.frame()
		if err != nil {
			return 0, err
		}
		if tag != data { // what the proxy has got, and tags of later versions
			continue
		}
		if s.rest, err = payload(b); err != nil {
			return 0, err
		}
		s.got += uint64(len(s.rest))
		if s.got-s.told > 2*largest {
			if err := s.send(binary.BigEndian.AppendUint64([]byte{0, ack}, s.got)); err != nil {
				return 0, err
			}
			s.told = s.got
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

func (s *stream) send(frame []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	return websocket.Message.Send(s.ws, frame)
}

// Write implements io.Writer.
func (s *stream) Write(p []byte) (int, error) {
	done := 0
	for len(p) > 0 {
		n := min(len(p), largest)
		frame := binary.BigEndian.AppendUint32([]byte{0, data}, uint32(n))
		if err := s.send(append(frame, p[:n]...)); err != nil {
			return done, err
		}
		done, p = done+n, p[n:]
	}
	return done, nil
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.ws.Close() }
