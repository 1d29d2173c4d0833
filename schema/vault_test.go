package schema_test

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// vault answers as much of Vault's API as the role speaks (developer.hashicorp.com/vault/api-docs/system): there is no
// Vault where this is tested.
type vault struct {
	mu          sync.Mutex
	initialized bool
	threshold   int
	given       map[string]bool
}

func (v *vault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var in struct {
		Key       string `json:"key"`
		Shares    int    `json:"secret_shares"`
		Threshold int    `json:"secret_threshold"`
	}
	if r.Method == http.MethodPut {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	answer := func(a any) { json.NewEncoder(w).Encode(a) }
	state := func() map[string]any {
		return map[string]any{"initialized": v.initialized, "sealed": !v.initialized || len(v.given) < v.threshold}
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/sys/seal-status":
		answer(state())
	case "PUT /v1/sys/init":
		if v.initialized {
			http.Error(w, `{"errors":["Vault is already initialized"]}`, http.StatusBadRequest)
			return
		}
		v.initialized, v.threshold, v.given = true, in.Threshold, map[string]bool{}
		var keys []string
		for i := range in.Shares {
			keys = append(keys, fmt.Sprint("key", i))
		}
		answer(map[string]any{"keys": keys, "keys_base64": keys, "root_token": "hvs.root"})
	case "PUT /v1/sys/unseal":
		if strings.HasPrefix(in.Key, "key") {
			v.given[in.Key] = true
		}
		answer(state())
	default:
		http.NotFound(w, r)
	}
}

// The role's program initialises Vault once and tells what it was told, says whether it is sealed, and unseals it.
func TestLabVault(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	v := &vault{}
	server := httptest.NewTLSServer(v)
	defer server.Close()
	dir := t.TempDir()
	write := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	write("lab.json", []byte(`{"port": `+server.URL[strings.LastIndex(server.URL, ":")+1:]+`, "shares": 5, "threshold": 3, "unseal": true}`))
	text, err := os.ReadFile(filepath.Join(library, "vault/vault/usr/local/bin/lab-vault"))
	if err != nil {
		t.Fatal(err)
	}
	write("lab-vault", bytes.ReplaceAll(text, []byte("/etc/vault-lab"), []byte(dir)))
	run := func(verb, stdin string) (string, string, int) {
		var out, errs strings.Builder
		cmd := exec.Command("python3", filepath.Join(dir, "lab-vault"), verb)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
		_ = cmd.Run()
		return strings.TrimSpace(out.String()), errs.String(), cmd.ProcessState.ExitCode()
	}
	want := func(verb, stdin, wanted string, status int) {
		t.Helper()
		if out, errs, exit := run(verb, stdin); out != wanted || exit != status {
			t.Errorf("%s: %q, exit status %d, want %q, %d; %s", verb, out, exit, wanted, status, errs)
		}
	}
	want("health", "", "not initialised", 1)
	told, errs, _ := run("init", "")
	if !strings.Contains(told, `"root_token": "hvs.root"`) || !strings.Contains(told, "key4") {
		t.Fatalf("init told %q; %s", told, errs)
	}
	want("health", "", "unsealed", 0)
	want("init", "", "", 0) // and again: there is nothing to tell
	v.given = map[string]bool{}
	want("health", "", "sealed", 1)
	if out, errs, exit := run("unseal", `{"keys_base64": ["wrong-4711"]}`); exit == 0 || strings.Contains(out+errs, "4711") {
		t.Errorf("a wrong key: exit status %d, %s%s", exit, out, errs)
	}
	want("unseal", told, "", 0)
	want("health", "", "unsealed", 0)
}
