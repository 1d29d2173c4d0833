package tunnel_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/labctl-dev/labctl/plugins/gce/tunnel"
	"github.com/labctl-dev/labctl/provider"
)

// proxy speaks the other end of the protocol as gcloud's source describes it, and leads to an address.
type proxy struct {
	to    string
	acked chan uint64
}

func (p proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/v4/connect" || r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("Origin") != "bot:iap-tunneler" ||
		q.Get("instance") != "web" || q.Get("interface") != "nic0" || q.Get("port") != "22" {
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	s := websocket.Server{Handler: p.serve, Handshake: func(c *websocket.Config, r *http.Request) error {
		if len(c.Protocol) != 1 || c.Protocol[0] != "relay.tunnel.cloudproxy.app" {
			return websocket.ErrBadWebSocketProtocol
		}
		return nil
	}}
	s.ServeHTTP(w, r)
}

func (p proxy) serve(ws *websocket.Conn) {
	ws.PayloadType = websocket.BinaryFrame
	conn, err := net.Dial("tcp", p.to)
	if err != nil {
		return // the connection ends without a word, as with the real one
	}
	defer conn.Close()
	_ = websocket.Message.Send(ws, append(binary.BigEndian.AppendUint32([]byte{0, 1}, 3), "sid"...))
	_ = websocket.Message.Send(ws, []byte{0, 99, 1, 2}) // a tag that nobody knows yet
	go func() {
		buf := make([]byte, 9000)
		for {
			n, err := conn.Read(buf)
			if n > 0 {
				_ = websocket.Message.Send(ws, append(binary.BigEndian.AppendUint32([]byte{0, 4}, uint32(n)), buf[:n]...))
			}
			if err != nil {
				ws.Close()
				return
			}
		}
	}()
	for {
		var b []byte
		if websocket.Message.Receive(ws, &b) != nil {
			return
		}
		switch binary.BigEndian.Uint16(b) {
		case 4:
			if n := binary.BigEndian.Uint32(b[2:]); n > 16<<10 || int(n) != len(b)-6 {
				return
			}
			_, _ = conn.Write(b[6:])
		case 7:
			p.acked <- binary.BigEndian.Uint64(b[2:])
		}
	}
}

func token(context.Context) (string, error) { return "secret", nil }

// TestStream sends much both ways, and sees that what arrives is told of.
func TestStream(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	p := proxy{echo.Addr().String(), make(chan uint64, 1000)}
	s := httptest.NewServer(p)
	defer s.Close()
	c, err := tunnel.Dial(t.Context(), "ws"+strings.TrimPrefix(s.URL, "http")+"/v4", tunnel.Target{Project: "p", Zone: "z", Instance: "web", Interface: "nic0", Port: 22}, token)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	go func() { _, _ = c.Write(sent) }()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("what came back is not what was sent: %v", err)
	}
	select {
	case n := <-p.acked:
		if n < 32<<10 || n > uint64(len(sent)) {
			t.Errorf("told of %d bytes", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("the proxy was told of nothing that arrived")
	}
}

func TestRefused(t *testing.T) {
	s := httptest.NewServer(proxy{"127.0.0.1:1", nil})
	defer s.Close()
	base := "ws" + strings.TrimPrefix(s.URL, "http") + "/v4"
	to := tunnel.Target{Project: "p", Zone: "z", Instance: "web", Interface: "nic0", Port: 22}
	for name, test := range map[string]struct {
		target tunnel.Target
	}{"nobody listens": {to}, "no such instance": {tunnel.Target{Instance: "db", Port: 22}}} {
		_, err := tunnel.Dial(t.Context(), base, test.target, token)
		if provider.CodeOf(err) != provider.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
