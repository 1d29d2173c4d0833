package access_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/labctl-dev/labctl/access"
)

func TestIdentityIsKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "secrets")
	var wg sync.WaitGroup
	ids := make([]access.Identity, 16)
	for i := range ids {
		wg.Go(func() {
			id, err := access.LoadIdentity(dir)
			if err != nil {
				t.Error(err)
			}
			ids[i] = id
		})
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] || id == (access.Identity{}) {
			t.Fatal("processes at once got different identities")
		}
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "lab.key"): 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, st.Mode(), err)
		}
	}
}

func TestBrokenIdentity(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lab.key"), []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := access.LoadIdentity(dir); err == nil || !strings.Contains(err.Error(), "lab.key: it has 5 bytes, not 32") {
		t.Error(err)
	}
	if _, err := access.LoadIdentity("/proc/nowhere"); err == nil {
		t.Error("no error")
	}
}

// TestKeys has OpenSSH read what labctl writes.
func TestKeys(t *testing.T) {
	id, err := access.LoadIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	private, public := id.HostKey("web")
	again, _ := id.HostKey("web")
	other, _ := id.HostKey("db")
	if private != again || private == other {
		t.Error("a machine's key is not its own")
	}
	signer, err := ssh.ParsePrivateKey([]byte(private))
	if err != nil {
		t.Fatal(err)
	}
	if string(signer.PublicKey().Marshal()) != string(id.HostPublic("web").Marshal()) || !strings.HasSuffix(public, " web") {
		t.Errorf("private and public do not belong together: %s", public)
	}
	if got, want := id.KnownHost("web", "web.demo", "10.0.0.1"), "web.demo,10.0.0.1 "+strings.TrimSuffix(public, " web"); got != want {
		t.Errorf("known_hosts: %s", got)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := id.WritePrivate(path); err != nil {
		t.Fatal(err)
	}
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	out, err := exec.Command(keygen, "-y", "-f", path).Output()
	if err != nil || !strings.HasPrefix(strings.TrimSpace(string(out)), strings.TrimSuffix(id.Authorized("x"), " x")) {
		t.Errorf("ssh-keygen: %s %v", out, err)
	}
}
