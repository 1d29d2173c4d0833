package first

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/insomniacslk/dhcp/dhcpv6/nclient6"
	"github.com/insomniacslk/dhcp/netboot"
	"golang.org/x/sys/unix"
)

// Mount mounts /proc, /sys and /dev.
func Mount() error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.where, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mounting %s: %w", m.where, err)
		}
	}
	return nil
}

// ModulesFile is a list of modules, each a path, those that others need before them.
const ModulesFile = "/lib/labctl/modules"

// LoadModules loads what ModulesFile lists, as far as this machine can use it: a driver without its device is none's
// mistake. It returns what could not be loaded for other reasons.
func LoadModules() (failed []string, err error) {
	f, err := os.Open(ModulesFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		if err := load(s.Text()); err != nil && !errors.Is(err, unix.EEXIST) && !errors.Is(err, unix.ENODEV) {
			failed = append(failed, fmt.Sprintf("%s: %v", filepath.Base(s.Text()), err))
		}
	}
	return failed, s.Err()
}

func load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

// How long a NIC, its link and a lease are waited for.
const (
	nicWait   = 30 * time.Second
	linkWait  = 30 * time.Second
	leaseWait = 90 * time.Second
)

// Connect gives the NIC that reaches the server an address.
func (l Line) Connect(ctx context.Context) error {
	name, err := l.nic(ctx)
	if err != nil {
		return err
	}
	if _, err := netboot.IfUp(name, linkWait); err != nil {
		return fmt.Errorf("NIC %s (%s) has no link within %s: %w", name, l.MAC, linkWait, err)
	}
	ctx, cancel := context.WithTimeout(ctx, leaseWait)
	defer cancel()
	ask := l.lease4
	if l.six() {
		ask = l.lease6
	}
	why := errors.New("nobody answers")
	for {
		conf, err := ask(ctx, name)
		if err == nil {
			return netboot.ConfigureInterface(name, conf)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no lease for %s (%s) within %s: %w", name, l.MAC, leaseWait, why)
		}
		why = err
		time.Sleep(time.Second) // an address of its own may not be ready yet
	}
}

// nic waits for the NIC, whose driver may take a moment.
func (l Line) nic(ctx context.Context) (string, error) {
	deadline := time.Now().Add(nicWait)
	for {
		all, err := net.Interfaces()
		if err != nil {
			return "", err
		}
		var have []string
		for _, i := range all {
			if i.HardwareAddr.String() == l.MAC.String() {
				return i.Name, nil
			}
			if i.Flags&net.FlagLoopback == 0 {
				have = append(have, i.HardwareAddr.String())
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", fmt.Errorf("no NIC has MAC %s; there is %s", l.MAC, strings.Join(append(have, "no other"), ", "))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (l Line) lease4(ctx context.Context, nic string) (*netboot.NetConf, error) {
	c, err := nclient4.New(nic, nclient4.WithTimeout(3*time.Second), nclient4.WithRetry(3))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	lease, err := c.Request(ctx)
	if err != nil {
		return nil, err
	}
	mask := lease.ACK.SubnetMask()
	if mask == nil {
		return nil, fmt.Errorf("the lease of %s has no netmask", lease.ACK.YourIPAddr)
	}
	// Not netboot's own reading, which wants a router: on a network of its own there is none, and whom to ask is on it.
	return &netboot.NetConf{
		Addresses: []netboot.AddrConf{{IPNet: net.IPNet{IP: lease.ACK.YourIPAddr, Mask: mask}, ValidLifetime: lease.ACK.IPAddressLeaseTime(0)}},
		Routers:   lease.ACK.Router(),
	}, nil
}

func (l Line) lease6(ctx context.Context, nic string) (*netboot.NetConf, error) {
	c, err := nclient6.New(nic, nclient6.WithTimeout(3*time.Second), nclient6.WithRetry(3))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	offer, err := c.Solicit(ctx)
	if err != nil {
		return nil, err
	}
	reply, err := c.Request(ctx, offer)
	if err != nil {
		return nil, err
	}
	return netboot.GetNetConfFromPacketv6(reply)
}

// shellFile is a static busybox, which the initrd brings.
const shellFile = "/bin/busybox"

// RunShell runs a shell on the console, and returns when that has ended. With a way to the server there is a network, too.
func (l Line) RunShell(ctx context.Context) error {
	if l.MAC != nil {
		if err := l.Connect(ctx); err != nil {
			fmt.Println("labctl-install: no network for the shell:", err)
		}
	}
	if out, err := exec.Command(shellFile, "--install", "-s", filepath.Dir(shellFile)).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", shellFile, err, out)
	}
	active, err := os.ReadFile("/sys/class/tty/console/active") // the last is where input comes from
	if err != nil {
		return err
	}
	names := strings.Fields(string(active))
	if len(names) == 0 {
		return errors.New("the kernel has no console")
	}
	tty, err := os.OpenFile(filepath.Join("/dev", names[len(names)-1]), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer tty.Close()
	fmt.Println("labctl-install: a shell; leaving it restarts the machine")
	sh := exec.CommandContext(ctx, shellFile, "sh")
	sh.Stdin, sh.Stdout, sh.Stderr = tty, tty, tty
	sh.Env = []string{"PATH=" + filepath.Dir(shellFile), "HOME=/", "TERM=linux"}
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	_ = sh.Run() // how the last command in it ended is nobody's business
	return nil
}

// Restart and PowerOff end the machine, its disks written.
func Restart() error  { return end(unix.LINUX_REBOOT_CMD_RESTART) }
func PowerOff() error { return end(unix.LINUX_REBOOT_CMD_POWER_OFF) }

func end(how int) error {
	unix.Sync()
	return unix.Reboot(how)
}
