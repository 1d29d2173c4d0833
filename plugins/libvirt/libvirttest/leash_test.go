package libvirttest_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
)

// TestKilled kills a test in the middle, in all the ways it may happen: its host ends with all that is on it, and the
// next test removes the folder.
func TestKilled(t *testing.T) {
	if os.Getenv("LIBVIRTTEST_KILLED") != "" {
		victim(t)
	}
	if testing.Short() {
		t.Skip("short: starts a libvirt host")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: what is on a host is told by its namespaces")
	}
	shell, err := os.ReadFile("/bin/bash")
	if err != nil {
		t.Skip("no libvirt host can be made here")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := filepath.Join(t.TempDir(), "go")
	if err := os.WriteFile(parent, shell, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		group bool
		sig   syscall.Signal
		words []string
	}{
		{"alone", false, syscall.SIGKILL, nil},
		{"its group", true, syscall.SIGKILL, nil},
		{"its group by timeout", true, syscall.SIGTERM, nil},
		{"its group by a terminal", true, syscall.SIGINT, nil},
		{"go test", false, syscall.SIGKILL, []string{parent, "-c", `"$@"; true`, "go"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			words := append(c.words, self, "-test.run=^TestKilled$")
			cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
			cmd.Env = append(os.Environ(), "LIBVIRTTEST_KILLED=1")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			dir, keeper := begin(t, cmd)
			mnt, net := held(t, keeper+"/ns/mnt"), held(t, keeper+"/ns/net")
			if len(inSpaces(mnt, net)) < 6 { // keeper and leash, virtlogd, libvirtd, sshd, dnsmasq, and one sleep
				t.Fatalf("only these are on the host: %q", inSpaces(mnt, net))
			}
			pid := cmd.Process.Pid
			if c.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, c.sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			var left []string
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				if left = inSpaces(mnt, net); len(left) == 0 {
					break
				}
			}
			if len(left) > 0 {
				t.Errorf("still running: %q", left)
			}
			libvirttest.Start(t, libvirttest.Config{})
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s was not swept", dir)
			}
		})
	}
}

// victim is the test that is killed.
func victim(t *testing.T) {
	d := libvirttest.Start(t, libvirttest.Config{})
	d.SSHD(t)
	d.Virsh("net-create", file(t, "net.xml", network))
	if err := d.Command(t.Context(), "setsid", "sleep", "600").Start(); err != nil {
		t.Fatal(err)
	}
	keeper, err := os.ReadFile(filepath.Join(d.Dir, "keeper"))
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString("host " + d.Dir + " /proc/" + string(keeper) + "\n")
	select {}
}

// begin starts the victim and returns its host's folder, and that of its keeper in /proc.
func begin(t *testing.T, cmd *exec.Cmd) (dir, keeper string) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[0] == "host" {
			return f[1], f[2]
		}
		said += lines.Text() + "\n"
	}
	_ = cmd.Wait()
	if os.Getenv("CI") != "true" && strings.Contains(said, "no libvirt host can be made here") {
		t.Skip("no libvirt host can be made here")
	}
	t.Fatalf("the test to be killed said: %s", said)
	return
}

// held is a namespace's name, which nothing else gets before the test is over.
func held(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return link(path)
}

func link(path string) string {
	name, _ := os.Readlink(path)
	return name
}

// inSpaces are the programs that have one of these namespaces.
func inSpaces(mnt, net string) []string {
	var found []string
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range all {
		if link(p+"/ns/mnt") == mnt || link(p+"/ns/net") == net {
			name, _ := os.ReadFile(p + "/comm")
			found = append(found, strings.TrimSpace(string(name)))
		}
	}
	return found
}
