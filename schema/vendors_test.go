package schema_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// program is where a program is that a test needs; without it the test is skipped, and in CI it fails.
func program(t *testing.T, name string) string {
	t.Helper()
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal(err)
	} else if err != nil {
		t.Skip(err)
	}
	return path
}

// What the roles add to units of packages that cannot be had here is understood by systemd. The units themselves stand in
// for the packages', as far as these parts matter (jenkinsci/packaging, systemd/jenkins.service; HashiCorp's vault.service).
func TestVendorsUnits(t *testing.T) {
	analyze := program(t, "systemd-analyze")
	for _, x := range []struct{ role, machine, unit, base string }{
		{"vault", "vault", "vault.service", "[Service]\nType=notify\nUser=root\nSecureBits=keep-caps\nCapabilityBoundingSet=CAP_SYSLOG CAP_IPC_LOCK\nExecStart=/bin/true\n"},
		{"jenkins", "ci", "jenkins.service", "[Service]\nType=notify\nUser=root\nEnvironment=\"JAVA_OPTS=-Djava.awt.headless=true\"\nExecStart=/bin/true\n"},
		{"jenkins", "build", "jenkins-agent.service", ""},
	} {
		dir := t.TempDir()
		if x.base != "" {
			if err := os.WriteFile(filepath.Join(dir, x.unit), []byte(x.base), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		made := filepath.Join(library, x.role, x.machine, "etc/systemd/system")
		if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
			t.Fatal(err)
		}
		if x.base == "" { // its program is no file here
			text, _ := os.ReadFile(filepath.Join(dir, x.unit))
			text = []byte(strings.NewReplacer("/usr/local/libexec/jenkins-agent", "/bin/true", "User=jenkins", "User=root").Replace(string(text)))
			if err := os.WriteFile(filepath.Join(dir, x.unit), text, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(analyze, "verify", "--man=no", filepath.Join(dir, x.unit))
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
		out, err := cmd.CombinedOutput()
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, dir) || strings.Contains(line, x.unit) {
				t.Errorf("%s: %s", x.role, line)
			}
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", x.role, err, out)
		}
	}
}

// Vault's configuration is HCL: Terraform's parser reads it, where one is at hand.
func TestVaultConfiguration(t *testing.T) {
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Log(err) // no skip, which fails in CI: nothing else needs it
		return
	}
	found, err := filepath.Glob(filepath.Join(library, "vault/*/etc/vault.d/vault.hcl"))
	if err != nil || len(found) != 2 {
		t.Fatalf("%v %v", found, err)
	}
	for _, f := range found {
		in, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(terraform, "fmt", "-no-color", "-check", "-diff", "-")
		cmd.Stdin = in
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
		in.Close()
	}
}

// Proxmox's machines behind vmbr0 leave by rules that nft understands; shells understand the scripts.
func TestVendorsScripts(t *testing.T) {
	sh := program(t, "sh")
	for _, f := range []string{"jenkins/build/usr/local/libexec/jenkins-agent", "vault/vault/etc/profile.d/lab-vault.sh"} {
		if out, err := exec.Command(sh, "-n", filepath.Join(library, f)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", f, err, out)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("nft -c asks the kernel, which answers root")
	}
	if out, err := exec.Command(program(t, "nft"), "-c", "-f", filepath.Join(library, "proxmox/pve/etc/network/vmbr0.nft")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
