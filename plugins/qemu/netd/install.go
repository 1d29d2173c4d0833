package netd

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/install/serve"
)

// Target is a machine that installs itself from the network. What it is given is in Paths.Netboot.
type Target = serve.Target

// Netboot has a network give installations to those that start from it: addresses with a boot script to iPXE, and all else
// over HTTP at labctl's own address there.
type Netboot struct {
	Targets []Target `json:"targets,omitempty"` // by MAC
}

// Netboot is the folder of what machines that install themselves are given (see package install/serve).
func (p Paths) Netboot() string { return filepath.Join(p.Dir, "netboot") }

// ShellRequest names a machine that installs itself from a network.
type ShellRequest struct {
	Network string `json:"network"`
	Machine string `json:"machine"`
}

// script is where a machine finds its boot script; "" if the network gives none.
func (n Network) script() string {
	if n.Netboot == nil || !n.Addr().Is4() {
		return ""
	}
	return "http://" + n.Addr().String() + "/boot.ipxe"
}

// ipxe is where a machine of arm64 finds iPXE; "" if none of them is installed from here. QEMU's network cards bring one for
// x86 alone.
func (n Network) ipxe() string {
	if n.script() == "" || !slices.ContainsFunc(n.Netboot.Targets, func(t Target) bool { return t.Arch == "arm64" }) {
		return ""
	}
	return "http://" + n.Addr().String() + "/ipxe/arm64.efi"
}

// checkNetboot returns an error that names what is wrong with who is installed.
func (n Network) checkNetboot() error {
	if n.Netboot == nil {
		return nil
	}
	if !n.Addr().Is4() {
		return fmt.Errorf("network %s: it has no IPv4 address, and gives installations", n.Name)
	}
	for _, t := range n.Netboot.Targets {
		from := t.Image
		if t.Installer != nil {
			from = t.Folder()
		}
		for what, s := range map[string]string{"machine": t.Machine, "arch": t.Arch, "image": from} {
			if s == "" || filepath.Base(s) != s {
				return fmt.Errorf("network %s: installation of %s: %s %q is no file name", n.Name, t.MAC, what, s)
			}
		}
	}
	return nil
}

// installs is who gives installations on one network.
type installs struct {
	server *serve.Server
	http   *http.Server
}

// newInstalls gives what is in dir; key tells the network from others that give from the same folder.
func newInstalls(dir, key string) (*installs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of installations: %w", err)
	}
	return &installs{server: serve.New(dir, filepath.Join(dir, "reports-"+key+".json"))}, nil
}

// open answers at l until close.
func (i *installs) open(l net.Listener, log *slog.Logger) {
	i.http = &http.Server{Handler: i.server, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn)}
	go i.http.Serve(l) // ends with close
}

func (i *installs) close() {
	if i != nil && i.http != nil {
		_ = i.http.Close()
		i.http = nil
	}
}

// setInstalls has a network give what its configuration says. It is called with mu held, and a gateway; fresh says that the
// gateway is a new one.
func (l *lan) setInstalls(n Network, fresh bool, log *slog.Logger) error {
	if n.Netboot == nil {
		l.installs.close()
		l.installs = nil
		return nil
	}
	if l.installs == nil {
		i, err := newInstalls(l.give, n.Key)
		if err != nil {
			return err
		}
		l.installs = i
	}
	l.installs.server.Set(n.Netboot.Targets)
	if l.installs.http != nil && !fresh {
		return nil
	}
	l.installs.close()
	at, err := l.gw.Listen(80)
	if err != nil {
		return fmt.Errorf("cannot give installations: %w", err)
	}
	l.installs.open(at, log)
	return nil
}

// shell gives a machine a shell at its next start from the network.
func (s *server) shell(r ShellRequest) *Error {
	l := s.lan(r.Network)
	if l == nil {
		return fail("shell", NoNetwork, "there is no network %s", r.Network)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.installs != nil {
		for _, t := range l.config.Netboot.Targets {
			if t.Machine == r.Machine && t.Installer != nil {
				return fail("shell", Invalid, "%s is installed by the installer %s, and labctl's is the one that has a shell", r.Machine, t.Installer.Name)
			}
			if t.Machine == r.Machine {
				if err := l.installs.server.Shell(t.MAC); err != nil {
					return fail("shell", Failed, "cannot note that %s gets a shell: %v", r.Machine, err)
				}
				return nil
			}
		}
	}
	return fail("shell", Invalid, "network %s does not install %s", r.Network, r.Machine)
}
