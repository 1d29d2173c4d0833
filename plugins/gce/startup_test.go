package gce

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestStartup runs the startup script of an instance whose image has no cloud-init, in a folder, with programs that only
// write down how they are called; then of one that has.
func TestStartup(t *testing.T) {
	tiny.Need(t, "python3")
	l := providertest.Lab()
	seeds, err := guest.Seeds(l, guest.Keys{Authorized: []string{"ssh-ed25519 AAAA labctl"}, Host: map[string]guest.HostKey{
		"gate": {Private: "PRIVATE\n", Public: "ssh-ed25519 HOST"}, "web": {Private: "PRIVATE\n", Public: "ssh-ed25519 HOST"},
	}}, map[string]string{})
	if err != nil {
		t.Fatal(err)
	}
	// The account is one that this host has, since making one is useradd's work; and the program is not run on this host.
	var seeded map[string]any
	if err := json.Unmarshal(seeds["web"].UserData[len("#cloud-config\n"):], &seeded); err != nil {
		t.Fatal(err)
	}
	seeded["users"].([]any)[0].(map[string]any)["name"] = "nobody"
	seeded["runcmd"].([]any)[0].([]any)[0] = "/usr/bin/program"
	text, err := json.Marshal(seeded)
	if err != nil {
		t.Fatal(err)
	}
	seed := "#cloud-config\n" + string(text)
	id := "1"
	meta := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Metadata-Flavor") != "Google":
			http.Error(w, "no", http.StatusForbidden)
		case r.URL.Path == "/id":
			_, _ = w.Write([]byte(id))
		case r.URL.Path == "/attributes/user-data" && seed != "":
			_, _ = w.Write([]byte(seed))
		default:
			http.NotFound(w, r)
		}
	}))
	defer meta.Close()
	root, bin := t.TempDir(), t.TempDir()
	for _, dir := range []string{"etc/default", "etc/ssh", "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []string{"systemctl", "hostname", "chown", "useradd"} {
		if err := os.WriteFile(filepath.Join(bin, p), []byte("#!/bin/sh\necho "+p+" \"$@\" >>"+bin+"/calls\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "usr/bin/program"), []byte("#!/bin/sh\necho \"$@\" >>"+root+"/ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func() {
		t.Helper()
		cmd := exec.Command("sh", "startup.sh")
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "LABCTL_ROOT="+root, "LABCTL_METADATA="+meta.URL+"/")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	has := func(path, text string) {
		t.Helper()
		if b, err := os.ReadFile(filepath.Join(root, path)); err != nil || !strings.Contains(string(b), text) {
			t.Errorf("%s does not have %q: %v, %.200s", path, text, err, b)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "etc/ssh/ssh_host_rsa_key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	run()
	has("ran", "--run boot\n")
	has("etc/default/instance_configs.cfg", "setup = false")
	has("etc/hostname", "web")
	has("etc/ssh/ssh_host_ed25519_key", "PRIVATE")
	has("etc/sudoers.d/90-labctl", "nobody ALL=(ALL) NOPASSWD:ALL")
	has(guest.DocumentPath, `"machine": "web"`)
	has(guest.ProgramPath, "python3")
	has("run/cloud-init/result.json", "startup script")
	has("var/lib/labctl/seeded", "1")
	if _, err := os.Stat(filepath.Join(root, "etc/ssh/ssh_host_rsa_key")); err == nil {
		t.Error("a host key that labctl does not know is still there")
	}
	seed = "" // it is taken out of the metadata: a second boot needs it no more
	if err := os.Remove(filepath.Join(root, "run/cloud-init/result.json")); err != nil {
		t.Fatal(err)
	}
	run()
	has("run/cloud-init/result.json", "errors\": []")
	if b, _ := os.ReadFile(filepath.Join(root, "ran")); strings.Count(string(b), "\n") != 1 {
		t.Errorf("the program is run by the first boot only: %q", b)
	}
}
