package converge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest/converge"
)

// space makes this host's own system the inside of a machine: its files under an overlay, with its real apt, dpkg and
// accounts, but with nothing of the network's packages known. $1 is the folder of the overlay.
const space = `set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=/,upperdir="$1/up",workdir="$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
for d in tmp run dev etc/apt/sources.list.d etc/apt/keyrings etc/apt/apt.conf.d var/lib/apt/lists var/lib/labctl; do mkdir -p $d; mount -t tmpfs -o mode=0755 tmpfs $d; done
mkdir -p dev/disk/by-id dev/shm var/lib/apt/lists/partial
chmod 1777 tmp
for f in null zero full random urandom tty; do touch dev/$f; mount --bind /dev/$f dev/$f; done
ln -s /proc/self/fd dev/fd
: > etc/apt/sources.list
rm -rf etc/labctl
hostname labctl-test
touch "$1/ready"
exec sleep 3600`

// real is a machine whose inside is real, but for systemd.
type real struct {
	t      *testing.T
	root   string // as the host sees it, through the holder of its mounts
	holder int
	m      machine // for documents
}

func newReal(t *testing.T) *real {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	if os.Getuid() != 0 {
		missing("needs root, for mounts of its own")
	}
	for _, p := range []string{"apt-get", "dpkg-deb", "gpg", "unshare", "nsenter", "useradd"} {
		if _, err := exec.LookPath(p); err != nil {
			missing(err.Error())
		}
	}
	dir, err := os.MkdirTemp("/var/tmp", "labctl-converge-") // an overlay wants a real file system
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, d := range []string{"up", "work", "root"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	holder := exec.Command("unshare", "-m", "-u", "sh", "-c", space, "sh", dir)
	holder.Stdout, holder.Stderr = &out, &out
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Process.Kill(); holder.Wait() })
	for range 600 {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if _, err := os.Stat(filepath.Join(dir, "ready")); err != nil {
		missing("no mounts of its own: " + out.String())
	}
	r := &real{t: t, holder: holder.Process.Pid, root: fmt.Sprintf("/proc/%d/root%s/root", holder.Process.Pid, dir)}
	r.m = machine{t: t, root: r.root}
	r.sh("true")
	r.m.write("usr/local/lib/labctl/converge", converge.Program())
	return r
}

// sh runs a script inside and returns what it prints.
func (r *real) sh(script string) string {
	r.t.Helper()
	out, err := r.inside("sh", "-ec", script).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return string(out)
}

func (r *real) pid() string { return fmt.Sprint(r.holder) }

func (r *real) inside(args ...string) *exec.Cmd {
	root := r.root[strings.Index(r.root, "/root/")+len("/root"):]
	return exec.Command("nsenter", append([]string{"-t", r.pid(), "-m", "-u", "chroot", root}, args...)...)
}

// run runs the program.
func (r *real) run(args ...string) (int, report) {
	r.t.Helper()
	var errs bytes.Buffer
	cmd := r.inside(append([]string{"python3", "/usr/local/lib/labctl/converge"}, args...)...)
	cmd.Stderr = &errs
	out, _ := cmd.Output()
	if errs.Len() > 0 {
		r.t.Fatal(errs.String())
	}
	text := string(out)
	if !strings.Contains(strings.Join(args, " "), "--check") {
		text = r.m.read("run/labctl/report.json")
	}
	var got report
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		r.t.Fatalf("%v in %s", err, text)
	}
	return cmd.ProcessState.ExitCode(), got
}

func (r *real) want(args []string, status int, wanted ...string) report {
	r.t.Helper()
	got, rep := r.run(args...)
	return judge(r.t, args, got, rep, status, wanted)
}

// settled is a machine in which all is true but what a test is about.
func (r *real) settled() *real {
	r.t.Helper()
	r.m.document(object{"network": []object{}})
	if status, rep := r.run(); status != 0 {
		r.t.Fatalf("an empty document: %v", items(rep))
	}
	return r
}
