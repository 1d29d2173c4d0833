package libvirtbench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
)

// terraform makes the same lab by dmacvicar/libvirt, whose blocks and attributes are those of its versions 0.8.
type terraform struct {
	b   *testing.B
	dir string
	env []string

	base *terraform // what stays from one lab to the next
}

// newTerraform makes a folder for Terraform that knows nothing but the given provider, and brings the image to the
// host.
func newTerraform(b *testing.B, d *libvirttest.Daemon, peer, image string, n int) *terraform {
	if _, err := exec.LookPath("terraform"); err != nil {
		b.Fatal(err)
	}
	peer, err := filepath.Abs(peer)
	if err == nil {
		_, err = os.Stat(peer)
	}
	if err != nil {
		b.Fatalf("%s: %v", envPeer, err)
	}
	t := &terraform{b: b, dir: b.TempDir()}
	plugins := b.TempDir()
	t.must(os.Symlink(peer, filepath.Join(plugins, "terraform-provider-libvirt")))
	rc := filepath.Join(plugins, "terraformrc")
	t.must(os.WriteFile(rc, fmt.Appendf(nil, "disable_checkpoint = true\nprovider_installation {\n  dev_overrides {\n    \"dmacvicar/libvirt\" = %q\n  }\n  direct {}\n}\n", plugins), 0o644))
	t.env = append(os.Environ(), "TF_CLI_CONFIG_FILE="+rc, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1", "LIBVIRT_DEFAULT_URI=")
	qcow := filepath.Join(plugins, "boot.qcow2")
	if out, err := exec.Command("qemu-img", "convert", "-O", "qcow2", image, qcow).CombinedOutput(); err != nil {
		b.Fatalf("qemu-img: %v\n%s", err, out)
	}
	uri := strings.Replace(d.URI, "qemu:", "qemu+unix:", 1)
	base := *t
	base.dir = filepath.Join(plugins, "base")
	t.must(os.Mkdir(base.dir, 0o755))
	t.must(os.WriteFile(filepath.Join(base.dir, "main.tf"), []byte(baseTF(uri, qcow)), 0o644))
	t.base = &base
	base.apply()
	t.must(os.WriteFile(filepath.Join(t.dir, "main.tf"), []byte(labTF(uri, n)), 0o644))
	return t
}

const providerTF = `
terraform {
  required_providers {
    libvirt = { source = "dmacvicar/libvirt" }
  }
}
provider "libvirt" { uri = %q }
`

// baseTF is what labctl keeps from one lab to the next: a pool and the image in it.
func baseTF(uri, qcow string) string {
	return fmt.Sprintf(providerTF+`
resource "libvirt_pool" "images" {
  name = "tf-images"
  type = "dir"
  target { path = "/var/lib/labctl/tf-images" }
}
resource "libvirt_volume" "idle" {
  name   = "idle.qcow2"
  pool   = libvirt_pool.images.name
  source = %q
  format = "qcow2"
}
`, uri, qcow)
}

// labTF is the lab of n machines.
func labTF(uri string, n int) string {
	return fmt.Sprintf(providerTF+`
locals { machines = toset([%s]) }
resource "libvirt_pool" "disks" {
  name = "tf-disks"
  type = "dir"
  target { path = "/var/lib/labctl/tf-disks" }
}
resource "libvirt_network" "lan" {
  name      = "tf-lan"
  mode      = "nat"
  addresses = ["10.140.0.0/24"]
  autostart = true
}
resource "libvirt_network" "office" {
  name      = "tf-office"
  mode      = "none"
  addresses = ["10.20.0.0/24"]
  autostart = true
  dhcp { enabled = false }
  dns { enabled = false }
}
resource "libvirt_volume" "root" {
  for_each         = local.machines
  name             = "${each.key}.qcow2"
  pool             = libvirt_pool.disks.name
  base_volume_name = "idle.qcow2"
  base_volume_pool = "tf-images"
  size             = 8388608
}
resource "libvirt_cloudinit_disk" "seed" {
  for_each       = local.machines
  name           = "${each.key}.iso"
  pool           = libvirt_pool.disks.name
  user_data      = "#cloud-config\nhostname: ${each.key}\n"
  meta_data      = "instance-id: ${each.key}\n"
  network_config = "version: 2\n"
}
resource "libvirt_domain" "machine" {
  for_each  = local.machines
  name      = "tf-${each.key}"
  type      = "qemu"
  memory    = 128
  vcpu      = 1
  cloudinit = libvirt_cloudinit_disk.seed[each.key].id
  disk { volume_id = libvirt_volume.root[each.key].id }
  network_interface { network_id = libvirt_network.lan.id }
  network_interface { network_id = libvirt_network.office.id }
  console {
    type        = "pty"
    target_port = "0"
    target_type = "serial"
  }
}
`, uri, strings.Join(each(n, func(name string) string { return fmt.Sprintf("%q", name) }), ", "))
}

func (t *terraform) must(err error) {
	t.b.Helper()
	if err != nil {
		t.b.Fatal(err)
	}
}

// tries is how often terraform is run until it succeeds, patience how long each time, and requests how many it may make at a
// time: as many as libvirtd takes of one client. With its own ten, its provider now and then reads an ISO that it has only
// half fetched, or waits for good for one: with ten machines in two runs of three, with fifty in each; and what it leaves it
// does not know the next time. What failed counts in the time, as it does for who uses it.
const (
	tries    = 3
	patience = 5 * time.Minute
	requests = "-parallelism=4"
)

// run runs terraform and returns its exit code.
func (t *terraform) run(args ...string) int {
	t.b.Helper()
	args = append(args, requests)
	for i := 1; ; i++ {
		code, err := t.once(args...)
		if err == nil {
			return code
		}
		if i == tries {
			t.b.Fatalf("for the %d. time: %v", i, err)
		}
		t.b.Logf("run again: %.400v", err)
	}
}

func (t *terraform) once(args ...string) (code int, err error) {
	ctx, cancel := context.WithTimeout(t.b.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "terraform", args...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = t.dir, t.env, 10*time.Second
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); err == nil || code == 2 {
		return code, nil
	}
	text := string(out)
	if i := strings.Index(text, "Error: "); i >= 0 {
		text = text[i:]
	}
	return 0, fmt.Errorf("terraform %s: %w: %s", args[0], errors.Join(err, ctx.Err()), text)
}

func (t *terraform) plan() {
	if t.run("plan", "-no-color", "-input=false", "-detailed-exitcode") != 2 {
		t.b.Fatal("terraform plan: there is nothing to do, of a lab that does not exist")
	}
}

func (t *terraform) apply() { t.run("apply", "-no-color", "-input=false", "-auto-approve") }

// unchanged does not ask whether the plan is empty: of some things it never is.
func (t *terraform) unchanged() { t.run("plan", "-no-color", "-input=false", "-detailed-exitcode") }

func (t *terraform) destroy() { t.run("destroy", "-no-color", "-input=false", "-auto-approve") }
