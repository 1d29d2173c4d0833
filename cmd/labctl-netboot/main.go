// Command labctl-netboot serves over HTTP what machines that are installed from the network ask for: it is in the container
// pxeboot (image.Container), beside dnsmasq. Its one argument is a file of JSON:
//
//	{"listen": ":80", "targets": [{"mac": "...", "machine": "web", "arch": "amd64", "image": "debian-12", "serial": ""}]}
//
// What it serves lies in the folder of that file (see package install/serve), and what machines report in state/reports.json
// there. It reads the file again when told by SIGHUP, while installations go on.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/install/serve"
)

// config is the file.
type config struct {
	Listen  string         `json:"listen"` // an address and port, as in net.Listen
	Targets []serve.Target `json:"targets"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: labctl-netboot FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		slog.Error("labctl-netboot ends", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) error {
	c, err := read(file)
	if err != nil {
		return err
	}
	state := filepath.Join(filepath.Dir(file), "state")
	if err := os.MkdirAll(state, 0o755); err != nil {
		return err
	}
	s := serve.New(filepath.Dir(file), filepath.Join(state, "reports.json"))
	s.Set(c.Targets)
	web := &http.Server{Addr: c.Listen, Handler: logged(s), ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- web.ListenAndServe() }()
	again := make(chan os.Signal, 1)
	signal.Notify(again, syscall.SIGHUP)
	slog.Info("serving", "listen", c.Listen, "targets", len(c.Targets))
	for {
		select {
		case err := <-ended:
			return err
		case <-ctx.Done():
			_ = web.Close()
			if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		case <-again:
			now, err := read(file)
			if err != nil { // what was right before goes on
				slog.Error("the new configuration is not taken", "error", err)
				continue
			}
			s.Set(now.Targets)
			slog.Info("serving", "targets", len(now.Targets))
		}
	}
}

func read(file string) (config, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return config{}, err
	}
	var c config
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// logged says who asks for what, but for reports, which come every second.
func logged(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			slog.Info("asked", "from", r.RemoteAddr, "for", r.URL.Path, "range", r.Header.Get("Range"))
		}
		h.ServeHTTP(w, r)
	})
}
