package export_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/export"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
)

// config writes the file by which Terraform takes its libvirt provider from LABCTL_TERRAFORM_LIBVIRT, the program of
// dmacvicar/libvirt 0.8, and returns its path; "" where that names none. Then there is nothing to ask, and nothing is
// skipped: CI has neither Terraform nor the provider, and a skip fails there.
func config(t *testing.T) string {
	t.Helper()
	peer := os.Getenv("LABCTL_TERRAFORM_LIBVIRT")
	if peer == "" {
		t.Log("LABCTL_TERRAFORM_LIBVIRT names no provider of Terraform's")
		return ""
	}
	plugins := t.TempDir()
	if err := os.Symlink(peer, filepath.Join(plugins, "terraform-provider-libvirt")); err != nil {
		t.Fatal(err)
	}
	rc := filepath.Join(plugins, "terraformrc")
	text := "disable_checkpoint = true\nprovider_installation {\n  dev_overrides {\n    \"dmacvicar/libvirt\" = \"" + plugins + "\"\n  }\n  direct {}\n}\n"
	if err := os.WriteFile(rc, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return rc
}

// TestValidate has Terraform itself judge what is written for it, of every lab there is.
func TestValidate(t *testing.T) {
	rc := config(t)
	if rc == "" {
		return
	}
	names := []string{"odd"}
	files, err := filepath.Glob("../../../../labs/*.cue")
	if err != nil || len(files) == 0 {
		t.Fatal("no labs", err)
	}
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), ".cue"))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			l := load(t, name)
			made, err := export.Terraform(export.Input{Lab: l, Options: options(t, l)})
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.tf.json"), made, 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("terraform", "validate", "-no-color")
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("terraform validate: %v\n%s", err, out)
			}
		})
	}
}

// TestApply has Terraform make a lab on a real libvirtd, emulated, and logs in to a machine of it that has configured
// itself.
func TestApply(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	rc := config(t)
	if rc == "" {
		return
	}
	l := load(t, "quickstart")
	i, _ := l.Image(l.Machines[0].Image)
	local, ok, err := image.Store{Dir: os.Getenv("LABCTL_TEST_IMAGES")}.Find(i)
	if err != nil || !ok {
		t.Skipf("image %s is not in LABCTL_TEST_IMAGES: %v", i.Name, err)
	}
	id, err := access.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := id.WritePrivate(key); err != nil {
		t.Fatal(err)
	}
	d := libvirttest.Start(t, libvirttest.Config{})
	made, err := export.Terraform(export.Input{
		Lab: l, Authorized: id.Authorized("test"),
		Options: export.Options{Type: "qemu", URI: strings.Replace(d.URI, "qemu:", "qemu+unix:", 1), PoolPath: "/var/lib/labctl/tf"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.tf.json"), made, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
	defer cancel()
	run := func(name string, args ...string) (string, error) {
		cmd := d.Command(ctx, name, args...)
		cmd.Dir = dir
		cmd.Env = append(cmd.Env, "TF_CLI_CONFIG_FILE="+rc, "CHECKPOINT_DISABLE=1", "TF_VAR_image_debian_12_minimal="+local.Disk)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("terraform", "-chdir="+dir, "apply", "-no-color", "-input=false", "-auto-approve"); err != nil {
		t.Fatalf("terraform apply: %v\n%s", err, out)
	}
	lease := regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+)/\d+ +web `)
	for said := ""; ; time.Sleep(5 * time.Second) {
		leases, _ := run("virsh", "-c", d.URI, "net-dhcp-leases", l.Name+"-lan")
		if m := lease.FindStringSubmatch(leases); m != nil {
			out, err := run("ssh", "-F", "none", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=20",
				"lab@"+m[1], "cat /run/cloud-init/result.json && hostname -f && ip -br addr && sudo cat /run/labctl/report.json")
			if err == nil && strings.Contains(out, "web."+l.Domain) && strings.Contains(out, "10.20.0.10/24") {
				t.Logf("the machine says:\n%s", out)
				break
			}
			said = out
		}
		if ctx.Err() != nil {
			t.Fatalf("waited for web to be there: %v\n%s\n%s", ctx.Err(), leases, said)
		}
	}
	if out, err := run("terraform", "-chdir="+dir, "destroy", "-no-color", "-input=false", "-auto-approve"); err != nil {
		t.Fatalf("terraform destroy: %v\n%s", err, out)
	}
}
