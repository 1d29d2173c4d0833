package export_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/export"
)

// TestValidate has Terraform itself judge what is written for it: LABCTL_TERRAFORM_LIBVIRT names the program of its
// provider dmacvicar/libvirt 0.8. It is no part of CI, which has neither.
func TestValidate(t *testing.T) {
	peer := os.Getenv("LABCTL_TERRAFORM_LIBVIRT")
	if peer == "" {
		t.Skip("LABCTL_TERRAFORM_LIBVIRT names no provider of Terraform's")
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
	for _, name := range labs {
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
