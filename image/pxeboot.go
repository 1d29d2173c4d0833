package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/labctl-dev/labctl/image/container"
	"github.com/labctl-dev/labctl/image/recipe"
	"github.com/labctl-dev/labctl/lab"
)

// Container is a container image that labctl builds from Debian's packages and a program of its own.
type Container struct {
	Name    string // "pxeboot"
	Arch    lab.Arch
	Program []byte // cmd/labctl-netboot for Linux on Arch, static
}

// LocalContainer is one that is in a store.
type LocalContainer struct {
	ID     string `json:"id"`
	File   string `json:"file"`   // as docker load takes it; absolute
	SHA256 string `json:"sha256"` // of File, hex
	Length int64  `json:"length"` // of File, bytes
}

// pxeboot is what decides, beside the program, what is in the container that installs machines: dnsmasq, iPXE for all
// firmwares, and supervisord. Debian 13 is the first whose iPXE is there for arm64.
var pxeboot = struct {
	Version  int
	Release  string
	Packages []string
	Drop     []string
	Keep     []string
	Files    map[string]string
}{
	Version: 1, Release: "trixie", Packages: []string{"supervisor", "dnsmasq-base", "ipxe"},
	Drop: []string{
		"dev", "boot", "var", "tmp", "etc", "usr/share", "usr/sbin", "usr/bin", "usr/libexec", "usr/include", "usr/games", "usr/src",
		"usr/lib/*/gconv", "usr/lib/*/security", "usr/lib/*/perl*", "usr/lib/systemd", "usr/lib/*/systemd", "usr/lib/dpkg", "usr/lib/udev",
		"usr/lib/ipxe/ipxe.iso", "usr/lib/ipxe/ipxe.pxe", "usr/lib/ipxe/ipxe.lkrn", "usr/lib/ipxe/ipxe-loong64.efi", "usr/lib/ipxe/ipxe-riscv64.efi",
		"usr/lib/python3*/pydoc_data", "usr/lib/python3*/idlelib", "usr/lib/python3*/ensurepip", "usr/lib/python3*/tkinter", "usr/lib/python3*/test",
		"usr/lib/python3/dist-packages/supervisor/tests", "usr/lib/python3/dist-packages/setuptools", "usr/lib/valgrind", "usr/lib/binfmt.d",
	},
	Keep: []string{"usr/lib/python3/dist-packages/setuptools/_vendor", "usr/bin/python3*", "usr/bin/supervisor*", "usr/sbin/dnsmasq"},
	Files: map[string]string{
		"etc/passwd": "root:x:0:0:root:/:/bin/false\n",
		"etc/group":  "root:x:0:\n",
		// What it serves is mounted at /srv/pxeboot, with the configuration of both programs.
		"etc/supervisord.conf": `[supervisord]
nodaemon=true
user=root
logfile=/dev/null
logfile_maxbytes=0
pidfile=/run/supervisord.pid

[unix_http_server]
file=/run/supervisor.sock
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix:///run/supervisor.sock

[program:dnsmasq]
command=/usr/sbin/dnsmasq --keep-in-foreground --log-facility=- --conf-file=/srv/pxeboot/dnsmasq.conf
redirect_stderr=true
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
startretries=1000000

[program:netboot]
command=/usr/bin/labctl-netboot /srv/pxeboot/netboot.json
redirect_stderr=true
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
startretries=1000000
`,
	},
}

// Containers are the names of those that labctl builds.
func Containers() []string { return []string{"pxeboot"} }

// ContainerID is the identity of a container image, known without having it: "container:sha256:<hex>" of all that labctl
// decides about it, the program included.
func ContainerID(c Container) (string, error) {
	b, err := json.Marshal(pxeboot)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00", c.Name, c.Arch, b)
	h.Write(c.Program)
	return "container:sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// The files of a container's folder.
const (
	containerFile   = "container.tar"
	containerRecord = "container.json"
)

// FindContainer is the container image if it is in the store.
func (s Store) FindContainer(c Container) (LocalContainer, bool, error) {
	id, err := ContainerID(c)
	if err != nil {
		return LocalContainer{}, false, err
	}
	dir := filepath.Join(s.Dir, containerFolder(c, id))
	var l LocalContainer
	b, err := os.ReadFile(filepath.Join(dir, containerRecord))
	if err != nil || json.Unmarshal(b, &l) != nil || l.ID != id {
		return LocalContainer{}, false, nil
	}
	l.File = filepath.Join(dir, containerFile)
	info, err := os.Stat(l.File)
	return l, err == nil && info.Size() == l.Length, nil
}

func containerFolder(c Container, id string) string {
	return c.Name + "-" + string(c.Arch) + "-" + short(id)
}

// EnsureContainer is the container image, built first if it is not there or anew.
func (s Store) EnsureContainer(ctx context.Context, c Container, anew bool, progress Progress) (LocalContainer, error) {
	if l, ok, err := s.FindContainer(c); err != nil || ok && !anew {
		return l, err
	}
	id, err := ContainerID(c)
	if err != nil {
		return LocalContainer{}, err
	}
	folder := containerFolder(c, id)
	unlock, err := s.lock(ctx, folder, func() { progress("waiting for another process", 0, 0) })
	if err != nil {
		return LocalContainer{}, fail(Denied, c.Name, err, "cannot build container image %s", c.Name)
	}
	defer unlock()
	if l, ok, err := s.FindContainer(c); err != nil || ok && !anew { // another process was quicker
		return l, err
	}
	work := s.work(folder)
	if err := errors.Join(os.RemoveAll(work), os.Mkdir(work, 0o755)); err != nil {
		return LocalContainer{}, fail(Denied, c.Name, err, "cannot build container image %s", c.Name)
	}
	defer os.RemoveAll(work)
	b := &builder{
		image: lab.Image{Name: c.Name, Arch: c.Arch}, dir: work, progress: progress,
		recipe: recipe.New(c.Arch, lab.Build{Distribution: "debian", Release: pxeboot.Release}), tools: tools{image: c.Name},
	}
	if err := need(c.Name, []Tool{{"mmdebstrap", "mmdebstrap"}, {debianKeys, "debian-archive-keyring"}}); err != nil {
		return LocalContainer{}, err
	}
	if err := b.container(ctx, c, id); err != nil {
		return LocalContainer{}, fail(Failed, c.Name, err, "cannot build container image %s", c.Name)
	}
	if err := replace(work, filepath.Join(s.Dir, folder)); err != nil {
		return LocalContainer{}, fail(Denied, c.Name, err, "cannot keep container image %s", c.Name)
	}
	l, _, err := s.FindContainer(c)
	return l, err
}

// container makes the files of a container image in b's folder.
func (b *builder) container(ctx context.Context, c Container, id string) error {
	b.progress("packages", 0, 0)
	if err := b.extract(ctx, compiling(c.Arch), pxeboot.Packages...); err != nil {
		return err
	}
	b.progress("compressing", 0, 0)
	in, err := os.Open(b.path("root.tar"))
	if err != nil {
		return err
	}
	defer in.Close()
	scratch, err := os.Create(b.path("layer.tar"))
	if err != nil {
		return err
	}
	defer scratch.Close()
	out, err := os.Create(b.path(containerFile))
	if err != nil {
		return err
	}
	if err := errors.Join(container.Write(out, in, scratch, boxed(c, id)), out.Close()); err != nil {
		return err
	}
	digest, n, err := sum(ctx, b.path(containerFile), func(int64) {})
	if err != nil {
		return err
	}
	record, err := json.MarshalIndent(LocalContainer{ID: id, SHA256: digest[len("sha256:"):], Length: n}, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(b.path(containerRecord), record, 0o644), os.Remove(b.path("root.tar")), os.Remove(b.path("layer.tar")))
}

// compiling has Python's files compiled, where its program can be run here: else each start of supervisord does it anew,
// which takes an emulated machine half a minute.
func compiling(arch lab.Arch) []string {
	if runtime.GOOS != "linux" || runtime.GOARCH != string(arch) {
		return nil
	}
	return []string{
		`--customize-hook=for d in bin sbin lib lib64; do [ -e "$1/$d" ] || ln -s usr/$d "$1/$d"; done`,
		`--customize-hook=chroot "$1" /usr/bin/python3 -m compileall -q --invalidation-mode unchecked-hash /usr/lib/python3 /usr/lib/python3.13 || :`,
	}
}

// boxed is the image that becomes of the packages.
func boxed(c Container, id string) container.Image {
	i := container.Image{
		Tag: "labctl/" + c.Name + ":" + short(id), Arch: string(c.Arch), Drop: pxeboot.Drop, Keep: pxeboot.Keep,
		Entrypoint: []string{"/usr/bin/python3", "/usr/bin/supervisord", "-n", "-c", "/etc/supervisord.conf"},
		Files:      []container.File{{Path: "usr/bin/labctl-netboot", Mode: 0o755, Content: c.Program}},
	}
	for _, dir := range []string{"dev/", "proc/", "sys/", "run/", "srv/pxeboot/", "var/lib/misc/"} {
		i.Files = append(i.Files, container.File{Path: dir, Mode: 0o755})
	}
	i.Files = append(i.Files, container.File{Path: "tmp/", Mode: 0o1777})
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} { // packages alone bring none of these (usrmerge does)
		i.Files = append(i.Files, container.File{Path: dir, Link: "usr/" + dir})
	}
	for _, name := range slices.Sorted(maps.Keys(pxeboot.Files)) {
		i.Files = append(i.Files, container.File{Path: name, Mode: 0o644, Content: []byte(pxeboot.Files[name])})
	}
	return i
}
