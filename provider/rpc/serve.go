package rpc

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/labctl-dev/labctl/provider"
)

// farewell is how long calls that still run when labctl closes the plugin may take to notice; go-plugin kills after two
// seconds.
const farewell = 1500 * time.Millisecond

// LetPile has this program collect garbage only when there is four times as much as what is alive, unless $GOGC says
// otherwise. It is for programs as short-lived as labctl and its plugins: a third of the processor time of a plan went into
// collecting what the end of the program would.
func LetPile() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}

// Serve is what a plugin's main calls; it returns when labctl has no more use for the plugin. Run by hand, the program
// says what it is and exits with 1.
func Serve(p provider.Plugin) {
	h := handshake()
	if os.Getenv(h.MagicCookieKey) != h.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is the provider %q (version %s) for labctl, which starts it by itself.\n"+
			"Say  provider: %q  in a target of your lab, then:  labctl plan LAB.cue\n",
			filepath.Base(os.Args[0]), p.Description.Name, cmp.Or(p.Description.Version, provider.ThisProgram().String()), p.Description.Name)
		os.Exit(1)
	}
	LetPile()
	s := &server{plugin: p, log: os.Stderr}
	go s.watchParent(os.Stdin)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig:  h,
		VersionedPlugins: map[int]plugin.PluginSet{provider.Protocol: {"provider": &wire{server: s}}},
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
		GRPCServer: func(o []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(o,
				grpc.MaxRecvMsgSize(math.MaxInt32), grpc.MaxSendMsgSize(math.MaxInt32),
				grpc.StaticStreamWindowSize(window), grpc.StaticConnWindowSize(window))...)
		},
	})
	s.wait(farewell)
}

// wire is the service as go-plugin registers it. Only the plugin's end has a server.
type wire struct {
	plugin.NetRPCUnsupportedPlugin
	plugin.GRPCPlugin
	server *server
}

// GRPCServer implements plugin.GRPCPlugin.
func (w *wire) GRPCServer(_ *plugin.GRPCBroker, g *grpc.Server) error {
	g.RegisterService(w.server.service(), w.server)
	return nil
}

// watchParent ends the process when labctl is gone, however it went: labctl holds the other end of stdin. On Linux the
// kernel kills the plugin even before that.
func (s *server) watchParent(stdin io.Reader) {
	_, _ = io.Copy(io.Discard, stdin)
	fmt.Fprintln(s.log, "labctl is gone, and so is its plugin")
	os.Exit(1)
}

// wait lets running calls finish, for a while.
func (s *server) wait(atMost time.Duration) {
	done := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(atMost):
	}
}
