package box

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// again is how systemd-nspawn says that the machine wants to start anew (systemd-nspawn(1), --keep-unit).
const again = 133

// Main is the machine's main program; its process has been started as the first one of new network, mount and process
// namespaces. args are the machine's folder.
func Main(args []string) int {
	// What this process starts ends with the thread that started it: the first thread is that one, and ends last.
	runtime.LockOSThread()
	if len(args) != 1 {
		fmt.Fprintln(os.Stderr, "box: the one argument is its folder")
		return 2
	}
	if err := run(args[0]); err != nil {
		fmt.Fprintln(os.Stderr, "box:", err)
		return 1
	}
	return 0
}

func run(dir string) error {
	p, err := Load(dir)
	if err != nil {
		return err
	}
	if err := enter(p.Groups); err != nil {
		return err
	}
	root, err := assemble(dir, p)
	if err != nil {
		return err
	}
	disks, err := attach(p.Disks)
	if err != nil {
		return err
	}
	con, err := openConsole(dir)
	if err != nil {
		return err
	}
	fmt.Println(Ready)
	if line, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil || line != Go {
		return errors.New("told to end before it began")
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
	for {
		code, err := spawn(p, root, disks, con, term)
		if err != nil || code != again {
			return err
		}
	}
}

// enter moves this process, and what it starts, into control groups.
func enter(groups []string) error {
	for _, g := range groups {
		if err := os.WriteFile(filepath.Join(g, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return fmt.Errorf("enter control group: %w", err)
		}
	}
	return nil
}

// assemble puts the machine's root together and returns where it is.
func assemble(dir string, p Plan) (string, error) {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return "", fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return "", fmt.Errorf("mount /proc of the machine's own processes: %w", err)
	}
	root := filepath.Join(dir, mountFolder)
	for _, d := range []string{root, filepath.Join(p.Root, "upper"), filepath.Join(p.Root, "work")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", err
		}
	}
	options := "lowerdir=" + escape(p.Lower) + ",upperdir=" + escape(filepath.Join(p.Root, "upper")) + ",workdir=" + escape(filepath.Join(p.Root, "work"))
	if err := unix.Mount("overlay", root, "overlay", 0, options); err != nil {
		return "", fmt.Errorf("mount the root (%s): %w", options, err)
	}
	// systemd-nspawn leaves folders in /run/systemd.
	if err := os.MkdirAll("/run/systemd", 0o755); err != nil {
		return "", err
	}
	if err := unix.Mount("tmpfs", "/run/systemd", "tmpfs", 0, "mode=755"); err != nil {
		return "", fmt.Errorf("mount a folder for systemd-nspawn: %w", err)
	}
	return root, nil
}

// escape makes a path fit for overlayfs' options.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `:`, `\:`, `,`, `\,`).Replace(path)
}

// spawn runs systemd-nspawn until the machine is off or wants to start anew, and returns its exit status.
func spawn(p Plan, root string, disks []string, con *console, term <-chan os.Signal) (int, error) {
	args := []string{
		"--quiet", "--boot", "--directory=" + root, "--machine=" + p.Name, "--register=no", "--keep-unit", "--settings=no",
		fmt.Sprintf("--network-namespace-path=/proc/%d/ns/net", os.Getpid()),
		"--link-journal=no", "--resolv-conf=off", "--timezone=off", "--console=interactive", "--notify-ready=no", "--capability=CAP_NET_ADMIN", // its network is its own
		"--system-call-filter=add_key keyctl bpf perf_event_open", // what containers inside it ask for
	}
	if p.Seed != "" {
		args = append(args, "--bind-ro="+strings.ReplaceAll(p.Seed, ":", `\:`)+":/var/lib/cloud/seed/nocloud")
	}
	for i, d := range p.Disks {
		args = append(args, "--bind="+disks[i]+":"+d.Device)
	}
	// The last word goes to the machine's init, where cloud-init looks for it in a container.
	cmd := exec.Command("systemd-nspawn", append(args, "ds=nocloud")...)
	cmd.Env = append(os.Environ(), "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network", "SYSTEMD_NSPAWN_LOCK=0", "TERM=vt220")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = con.slave, con.slave, con.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start systemd-nspawn: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	go open(cmd.Process.Pid)
	for {
		select {
		case <-term:
			_ = cmd.Process.Signal(syscall.SIGTERM) // the machine shuts down
		case err := <-ended:
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				return 0, err
			}
			if code := cmd.ProcessState.ExitCode(); code == 0 || code == again {
				return code, nil
			}
			return 0, fmt.Errorf("systemd-nspawn: %w", err)
		}
	}
}
