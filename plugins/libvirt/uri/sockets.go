package uri

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// The names of sockets: virtqemud's, which goes first where both are, and libvirtd's.
const (
	modularSocket = "virtqemud-sock"
	legacySocket  = "libvirt-sock"
)

// names are the sockets to look for, best first.
func (u URI) names() []string {
	switch u.params.Get("mode") {
	case "direct":
		return []string{modularSocket}
	case "legacy":
		return []string{legacySocket}
	}
	if u.Driver == "test" { // virtqemud has no such driver
		return []string{legacySocket}
	}
	return []string{modularSocket, legacySocket}
}

// own says that it is the user's own libvirtd that is meant. For root there is only the system's.
func (u URI) own() bool { return u.Session() && os.Geteuid() != 0 }

// runtime is the folder of a user's own sockets, found as GLib does for libvirt.
func runtime() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "libvirt"), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", &provider.Error{Code: provider.Invalid, Text: "neither XDG_RUNTIME_DIR nor HOME is set: your own libvirtd cannot be found"}
	}
	return filepath.Join(cache, "libvirt"), nil
}

// dialUnix connects to a socket on this host, and starts the user's own libvirtd if need be.
func (u URI) dialUnix(ctx context.Context) (net.Conn, error) {
	if path := u.params.Get("socket"); path != "" {
		c, err := dialSocket(ctx, path)
		return c, u.socketError(path, err)
	}
	dir := "/run/libvirt"
	if _, err := os.Stat(dir); err != nil {
		dir = "/var/run/libvirt"
	}
	if u.own() {
		var err error
		if dir, err = runtime(); err != nil {
			return nil, err
		}
	}
	c, path, err := u.first(ctx, dir)
	if absent(err) && u.own() && ctx.Err() == nil {
		if err := u.start(ctx, dir); err != nil {
			return nil, err
		}
		c, path, err = u.first(ctx, dir)
	}
	return c, u.socketError(path, err)
}

// first connects to the best socket in a folder that somebody listens on.
func (u URI) first(ctx context.Context, dir string) (c net.Conn, path string, err error) {
	for _, name := range u.names() {
		path = filepath.Join(dir, name)
		c, err = dialSocket(ctx, path)
		if !absent(err) {
			return c, path, err
		}
	}
	return c, path, err
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// absent says that nobody listens.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

// daemons are the programs that may serve a URI, best first.
func (u URI) daemons() []string {
	switch mode := u.params.Get("mode"); {
	case mode == "direct":
		return []string{"virtqemud"}
	case mode == "legacy" || u.Driver == "test":
		return []string{"libvirtd"}
	}
	return []string{"virtqemud", "libvirtd"}
}

func installed(program string) string {
	if path, err := exec.LookPath(program); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin", "/sbin"} {
		path := filepath.Join(dir, program)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path
		}
	}
	return ""
}

// start starts the user's own daemon as libvirt's tools do: it ends two minutes after its last client has gone.
func (u URI) start(ctx context.Context, dir string) error {
	for _, name := range u.daemons() {
		path := installed(name)
		if path == "" {
			continue
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return &provider.Error{Code: provider.Denied, Text: err.Error()}
		}
		cmd := exec.CommandContext(ctx, path, "--daemon", "--timeout", "120") // it returns when the daemon listens
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if c, _, err := u.first(ctx, dir); err == nil { // somebody else was faster
			c.Close()
			return nil
		}
		return &provider.Error{Code: provider.Unavailable, Text: fmt.Sprintf("%s, your own libvirt daemon, does not start: %v: %s", path, err, strings.TrimSpace(string(out)))}
	}
	return &provider.Error{Code: provider.Missing, Text: u.daemons()[len(u.daemons())-1]}
}

// socketError says what is wrong with a socket and what to do.
func (u URI) socketError(path string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, fs.ErrPermission):
		text, fix := who(path)
		return failure(provider.Denied, fmt.Sprintf("you may not use %s: %s", path, text), fix)
	case absent(err) && u.params.Get("socket") != "":
		return failure(provider.Unavailable, "nobody listens on "+path+", the socket of "+u.Text, "ls -l "+quote(path)+"   # start the libvirtd whose socket it is, or take ?socket= out of the target's uri")
	case absent(err):
		for _, d := range u.daemons() {
			if installed(d) != "" {
				return failure(provider.Unavailable, fmt.Sprintf("libvirt is not running: nobody listens on %s; start it: systemctl start %s.socket", path, d), "sudo systemctl enable --now "+d+".socket")
			}
		}
		return failure(provider.Missing, u.daemons()[len(u.daemons())-1], installLibvirt)
	}
	return &provider.Error{Code: provider.Unavailable, Text: err.Error()}
}

// who says who may use a socket, and how to become one of them.
func who(path string) (text, fix string) {
	const join = "sudo usermod -aG %s $USER   # then log in again"
	st, err := os.Stat(path)
	if err != nil {
		return "its folder is closed to you", fmt.Sprintf(join, "libvirt")
	}
	owner, ok := st.Sys().(*syscall.Stat_t)
	if !ok || st.Mode()&0o020 == 0 || owner.Gid == 0 {
		return "it is for root", "sudo systemctl restart libvirtd.socket   # which makes it anew, for the group libvirt, too"
	}
	gid := strconv.Itoa(int(owner.Gid))
	if g, err := user.LookupGroupId(gid); err == nil {
		return fmt.Sprintf("it is for root and the group %[1]s; join it (usermod -aG %[1]s USER) and log in again", g.Name), fmt.Sprintf(join, g.Name)
	}
	return "it is for root and the group " + gid, ""
}

// unknownHost is the name in an error that says that there is no such host.
func unknownHost(err error) (string, bool) {
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return dns.Name, true
	}
	return "", false
}
