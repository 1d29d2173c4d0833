package converge_test

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// always is what every first run in a new machine changes.
var always = []string{"user lab: authorized keys", "hosts: the lab's block of /etc/hosts"}

func changed(more ...string) []string { return append(append([]string{}, always...), more...) }

func sha(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func fetched(path, url, text, mode string) object {
	return object{"path": path, "from": object{"url": url, "sha256": sha(text)}, "mode": mode, "owner": "root", "group": "root", "restart": []string{"app"}}
}

// A file comes over the network once, whole or not at all, and only as what its digest says.
func TestFetchedFiles(t *testing.T) {
	var asked, broken atomic.Int32
	const jar = "a jar\x00\xff of bytes\n"
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch {
		case r.URL.Path == "/gone":
			http.NotFound(w, r)
		case broken.Load() > 0: // ends in the middle
			broken.Add(-1)
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("half"))
		default:
			w.Write([]byte(jar))
		}
	}))
	t.Cleanup(s.Close)
	m := newMachine(t)
	files := func(all ...object) {
		m.document(object{"files": all, "units": []object{{"name": "app", "enabled": true, "running": true}}})
	}
	files(fetched("/opt/app/app.jar", s.URL+"/app.jar", jar, "0640"))
	m.want([]string{"--check"}, 2, changed("file /opt/app/app.jar: is missing", "unit app: is not enabled", "unit app: does not run")...)
	if m.exists("opt") || asked.Load() != 0 {
		t.Error("--check fetched something")
	}
	broken.Store(2)
	m.want(nil, 0, changed("file /opt/app/app.jar: is missing", "unit app: is not enabled", "unit app: does not run")...)
	if info, _ := os.Stat(filepath.Join(m.root, "opt/app/app.jar")); m.read("opt/app/app.jar") != jar || info.Mode().Perm() != 0o640 {
		t.Errorf("%q, mode %v", m.read("opt/app/app.jar"), info.Mode())
	}
	if got := asked.Swap(0); got != 3 {
		t.Errorf("asked %d times, where two answers broke off", got)
	}
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)
	os.Chmod(filepath.Join(m.root, "opt/app/app.jar"), 0o600)
	m.want(nil, 0, "file /opt/app/app.jar: mode", "unit app: restarted, its files changed")
	if got := asked.Swap(0); got != 0 {
		t.Errorf("asked %d times for what is there", got)
	}
	m.write("opt/app/app.jar", "another")
	m.want([]string{"--check"}, 2, "file /opt/app/app.jar: content")
	m.want(nil, 0, "file /opt/app/app.jar: content", "unit app: restarted, its files changed")

	// What is not what was asked for is not put in its place, and restarts nothing.
	m.calls()
	files(fetched("/opt/app/app.jar", s.URL+"/app.jar", "other", "0640"), fetched("/opt/none", s.URL+"/gone", "x", "0644"), fetched("/opt/nowhere", "http://127.0.0.1:1/x", "x", "0644"))
	r := m.want(nil, 1, "FAILED file /opt/app/app.jar: "+s.URL+"/app.jar is not what was asked for: its sha256 is "+sha(jar)+", not "+sha("other"),
		"FAILED file /opt/none: cannot fetch "+s.URL+"/gone: the server says 404 Not Found",
		"FAILED file /opt/nowhere: cannot fetch http://127.0.0.1:1/x: [Errno 111] Connection refused")
	if m.read("opt/app/app.jar") != jar || m.exists("opt/none") || m.exists("opt/app/.labctl-app.jar") || strings.Contains(m.calls(), "restart") {
		t.Errorf("a failed fetch left something behind: %v", items(r))
	}
}

// A command runs again for what changed, until it has succeeded, and for nothing else.
func TestCommandsRunAgain(t *testing.T) {
	m := newMachine(t)
	document := func(a, b string) {
		m.document(object{
			"files": []object{file("/etc/app/a", a), file("/etc/app.d/b", b), file("/etc/other", a+b)},
			"commands": []object{
				{"name": "one", "run": "echo one >>$FAKE_ROOT/ran; ! [ -e $FAKE_ROOT/broken ]", "onchange": []string{"/etc/app/a"}},
				{"name": "below", "run": "echo below >>$FAKE_ROOT/ran; touch $FAKE_ROOT/made", "creates": "/made", "onchange": []string{"/etc/app.d/"}},
			},
		})
	}
	ran := func(want string) {
		t.Helper()
		b, _ := os.ReadFile(filepath.Join(m.root, "ran"))
		os.Remove(filepath.Join(m.root, "ran"))
		if got := strings.Join(strings.Fields(string(b)), " "); got != want {
			t.Errorf("ran %q, want %q", got, want)
		}
	}
	document("1", "1")
	m.want(nil, 0, changed("file /etc/app/a: is missing", "file /etc/app.d/b: is missing", "file /etc/other: is missing", "command one: run", "command below: run")...)
	ran("one below")
	m.want(nil, 0)
	document("2", "1")
	m.write("broken", "")
	m.want(nil, 1, "file /etc/app/a: content", "file /etc/other: content", "FAILED command one: command failed: exit status 1")
	ran("one")
	m.want([]string{"--check"}, 2, "command one: has not run since its files changed")
	os.Remove(filepath.Join(m.root, "broken"))
	m.want(nil, 0, "command one: run")
	ran("one")
	m.want(nil, 0)
	document("2", "2")
	m.want(nil, 0, "file /etc/app.d/b: content", "file /etc/other: content", "command below: run")
	ran("below")
	m.write("etc/app/a", "by hand")
	m.want(nil, 0, "file /etc/app/a: content", "command one: run")
	ran("one")
	m.want([]string{"--check"}, 0)
}
