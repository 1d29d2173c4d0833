package room

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is a program that runs as long as the room needs it.
type child struct {
	cmd    *exec.Cmd
	config string // by which it was started
	ended  chan struct{}
	log    string
}

// start starts a program that ends with the room, by the signal for the thread that starts it.
func (r *server) start(name string, cmd *exec.Cmd) (*child, error) {
	log := filepath.Join(r.dir, name+".log")
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	c := &child{cmd: cmd, ended: make(chan struct{}), log: log}
	go func() {
		_ = cmd.Wait()
		close(c.ended)
	}()
	return c, nil
}

func (c *child) alive() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

func (c *child) stop() {
	if c.alive() {
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// ready waits until a child is what ok says, or has ended.
func (c *child) ready(what string, ok func() bool) error {
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if ok() {
			return nil
		}
		if !c.alive() {
			out, _ := os.ReadFile(c.log)
			return fmt.Errorf("%s ended at once: %s", what, strings.TrimSpace(string(out)))
		}
	}
	c.stop()
	return fmt.Errorf("%s was started, but was not ready within 20s", what)
}

// outside is what leads to the world: a user-mode stack on the host, and an interface of it here.
type outside struct {
	*child
	dns   netip.Addr
	rules string
}

// startOutside starts the user-mode stack, with addresses that no network of the lab has.
func (r *server) startOutside(all []Network) (*outside, error) {
	cidr := netip.MustParsePrefix("198.18.255.0/24") // of RFC 2544's, which nobody routes
	for _, c := range []string{"198.18.255.0/24", "198.19.255.0/24", "192.0.0.0/24", "100.127.255.0/24"} {
		cidr = netip.MustParsePrefix(c)
		if !slices.ContainsFunc(all, func(n Network) bool { return n.CIDR.IsValid() && n.CIDR.Overlaps(cidr) }) {
			break
		}
	}
	cmd := exec.Command("nsenter", "--net=/proc/self/fd/3", "slirp4netns", "--configure", "--mtu=65520", "--cidr="+cidr.String(),
		"--disable-host-loopback", "--netns-type=path", fmt.Sprintf("/proc/%d/ns/net", os.Getpid()), up)
	cmd.ExtraFiles = []*os.File{r.host}
	c, err := r.start("slirp4netns", cmd)
	if err != nil {
		return nil, err
	}
	b := cidr.Addr().As4()
	b[3] = 3 // slirp4netns(1)
	o := &outside{child: c, dns: netip.AddrFrom4(b)}
	return o, c.ready("slirp4netns", func() bool {
		out, err := exec.Command("ip", "route", "show", "default", "dev", up).Output()
		return err == nil && len(out) > 0
	})
}

// hostAddresses are the host's own, which machines are kept from unless a network allows them.
func (r *server) hostAddresses() ([]netip.Addr, error) {
	cmd := exec.Command("nsenter", "--net=/proc/self/fd/3", "ip", "-j", "addr")
	cmd.ExtraFiles = []*os.File{r.host}
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read the host's addresses: %w", err)
	}
	var list []struct {
		Info []struct {
			Local netip.Addr `json:"local"`
		} `json:"addr_info"`
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("read the host's addresses: %w", err)
	}
	var all []netip.Addr
	for _, l := range list {
		for _, a := range l.Info {
			if a.Local.Is4() && !a.Local.IsLoopback() {
				all = append(all, a.Local)
			}
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all), nil
}

func nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// inHost calls f on a thread in the host's network namespace, which ends with it.
func (r *server) inHost(f func() error) error {
	return Inside(r.host, f)
}

// Inside calls f on a thread of its own in a network namespace. Sockets that f makes stay there.
func Inside(namespace *os.File, f func() error) error {
	done := make(chan error, 1)
	go func() {
		lockThread() // and never unlock it: the thread ends with this goroutine
		if err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- fmt.Errorf("enter a network namespace: %w", err)
			return
		}
		done <- f()
	}()
	return <-done
}
