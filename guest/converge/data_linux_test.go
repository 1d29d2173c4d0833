package converge_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mounts is what systemctl does for mount units, where there is no systemd.
const mounts = `#!/bin/sh
for last; do :; done
unit=/etc/systemd/system/$last; where=$(sed -n s/^Where=//p $unit 2>/dev/null)
case $1 in
show) [ -e /run/$last.enabled ] && s=enabled || s=disabled; echo "UnitFileState=$s" ;;
start) mount -t "$(sed -n s/^Type=//p $unit)" "$(sed -n s/^What=//p $unit)" "$where" ;;
stop) umount "$where" ;;
enable) touch /run/$last.enabled ;;
disable) rm -f /run/$last.enabled ;;
esac
`

// plug gives a machine a disk, a loop device under the name that a virtio disk of that serial number has.
func (r *real) plug(serial string, size int64) (image, device string) {
	r.t.Helper()
	image = filepath.Join(r.t.TempDir(), "disk")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.Command("losetup", "-f", "--show", image).CombinedOutput()
	if err != nil {
		if os.Getenv("CI") == "true" {
			r.t.Fatalf("losetup: %v: %s", err, out)
		}
		r.t.Skipf("losetup: %v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	r.t.Cleanup(func() {
		r.inside("sh", "-c", "umount -a -t ext4 2>/dev/null").Run()
		exec.Command("losetup", "-d", device).Run()
	})
	root := r.root[strings.Index(r.root, "/root/")+len("/root"):]
	script := "touch " + root + device + "; mount --bind " + device + " " + root + device + "; ln -sf " + device + " " + root + "/dev/disk/by-id/virtio-" + serial
	if out, err := exec.Command("nsenter", "-t", r.pid(), "-m", "sh", "-ec", script).CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v: %s", script, err, out)
	}
	return image, device
}

func precious(path, disk string) object {
	return object{"path": path, "disk": disk, "size": "64MiB", "owner": "daemon", "group": "daemon", "mode": "0750"}
}

// A folder has a disk of its own: made once, found again, grown in use, and never made anew.
func TestData(t *testing.T) {
	t.Parallel()
	r := newReal(t).settled()
	r.m.write("usr/local/sbin/systemctl", mounts)
	r.sh("chmod +x /usr/local/sbin/systemctl")
	document := func(all ...object) { r.m.document(object{"data": all}) }
	app := precious("/srv/app", "app-1a2b3c")

	document(app)
	r.want([]string{"--check"}, 2, "data /srv/app: the machine has no disk with the serial number app-1a2b3c")
	image, device := r.plug("app-1a2b3c", 64<<20)
	r.sh("mkdir -p /srv/app; touch /srv/app/there")
	r.want(nil, 1, "FAILED data /srv/app: is not empty, and would be hidden by its disk: move away what is in it, and back when it is mounted")
	if status, _ := exec.Command("blkid", "-p", device).Output(); len(status) > 0 {
		t.Errorf("the disk was formatted all the same: %s", status)
	}
	r.sh("rm /srv/app/there")
	r.want([]string{"--check"}, 2, "data /srv/app: its disk is empty")
	r.want(nil, 0, "data /srv/app: its disk is empty", "data /srv/app: mode, owner")
	r.want(nil, 0)
	r.want([]string{"--check"}, 0)
	if got := r.sh("stat -c '%U %a' /srv/app; ls -A /srv/app; blkid -o value -s LABEL " + device); got != "daemon 750\napp-1a2b3c\n" {
		t.Errorf("mounted as %q", got)
	}
	r.sh("echo precious > /srv/app/it; sync")

	// What was unmounted comes back as it was, and nobody writes below it meanwhile.
	r.sh("umount /srv/app")
	if err := r.inside("touch", "/srv/app/beside").Run(); err == nil {
		r.sh("rm /srv/app/beside")
		t.Log("this file system knows no immutable folders")
	}
	r.want([]string{"--check"}, 2, "data /srv/app: is not mounted")
	r.want(nil, 0, "data /srv/app: is not mounted")
	if got := r.m.read("srv/app/it"); got != "precious\n" {
		t.Errorf("%q", got)
	}

	// It grows while it is in use.
	if err := os.Truncate(image, 128<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("losetup", "-c", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.want([]string{"--check"}, 2, "data /srv/app: fills 64 MiB of a disk of 128")
	if !mayResize(t) {
		r.want(nil, 1, "FAILED data /srv/app: cannot grow the file system: exit status 1")
		r.sh("umount /srv/app; e2fsck -fp /dev/disk/by-id/virtio-app-1a2b3c || [ $? = 1 ]; resize2fs /dev/disk/by-id/virtio-app-1a2b3c; systemctl start srv-app.mount")
	} else {
		r.want(nil, 0, "data /srv/app: fills 64 MiB of a disk of 128")
	}
	r.want(nil, 0)
	if got := strings.Fields(r.sh("df -m --output=size,target /srv/app | tail -1; cat /srv/app/it")); len(got) != 3 || len(got[0]) != 3 || got[2] != "precious" {
		t.Errorf("grown: %q", got)
	}

	// The lab no longer has it: its content stays on the disk.
	document()
	r.want([]string{"--check"}, 2, "data /srv/app: no longer in the lab")
	r.want(nil, 0, "data /srv/app: unmounted")
	r.want(nil, 0)
	document(app)
	r.want(nil, 0, "data /srv/app: is not mounted")
	if got := r.m.read("srv/app/it"); got != "precious\n" {
		t.Errorf("%q", got)
	}
}

// A disk that is not labctl's to format is left as it is, and nothing that would use the folder is begun.
func TestDataOfOthers(t *testing.T) {
	t.Parallel()
	r := newReal(t).settled()
	r.m.write("usr/local/sbin/systemctl", mounts)
	r.sh("chmod +x /usr/local/sbin/systemctl")
	_, device := r.plug("parts-000001", 64<<20)
	table := make([]byte, 512) // one Linux partition from sector 2048 on
	copy(table[446:], []byte{0, 0, 2, 0, 0x83, 0, 2, 0, 0, 8, 0, 0, 0, 0, 1, 0})
	copy(table[510:], []byte{0x55, 0xaa})
	if err := os.WriteFile(device, table, 0o600); err != nil {
		t.Fatal(err)
	}
	r.m.document(object{"data": []object{precious("/srv/parts", "parts-000001")}, "files": []object{file("/etc/after", "x")}})
	r.want(nil, 1, "FAILED data /srv/parts: its disk has a partition table (dos), which labctl does not make: it is not touched")
	if r.m.exists("etc/after") {
		t.Error("the run went on without its data")
	}

	// A file system of others is used as it is; one that a killed run left is made anew.
	_, device = r.plug("others-000002", 64<<20)
	_, half := r.plug("half-000003", 64<<20)
	for _, args := range [][]string{{"-q", "-L", "theirs", device}, {"-q", "-L", "labctl-making", half}} {
		if out, err := exec.Command("mkfs.ext4", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	r.m.document(object{"data": []object{precious("/srv/half", "half-000003"), precious("/srv/others", "others-000002")}})
	r.want(nil, 0, "data /srv/half: its disk is empty", "data /srv/others: is not mounted", "data /srv/half: mode, owner", "data /srv/others: mode, owner")
	if got := r.sh("ls -A /srv/others; blkid -o value -s LABEL " + device + "; blkid -o value -s LABEL " + half); got != "lost+found\ntheirs\nhalf-000003\n" {
		t.Errorf("%q", got)
	}
	r.want([]string{"--check"}, 0)
}

// mayResize says whether this host lets anybody grow a file system that is mounted: root in a container may be without
// CAP_SYS_RESOURCE (bit 24), which machines always have.
func mayResize(t *testing.T) bool {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "CapEff:")
	caps, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return caps>>24&1 == 1
}
