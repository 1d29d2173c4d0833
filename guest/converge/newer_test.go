package converge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// until waits for a file of the machine to have text in it.
func (m *machine) until(path, text string) {
	m.t.Helper()
	for end := time.Now().Add(2 * time.Minute); !m.exists(path) || !strings.Contains(m.read(path), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			m.t.Fatalf("%s never has %q", path, text)
		}
	}
}

// replace puts another document in the place of the one there, as labctl does: at once.
func (m *machine) replace(change object) {
	m.t.Helper()
	m.write("etc/labctl/guest.json.new", m.encode(change))
	place := filepath.Join(m.root, "etc/labctl/guest.json")
	if err := os.Rename(place+".new", place); err != nil {
		m.t.Fatal(err)
	}
}

// A newer document ends a run, but not in the middle of an item: the command that runs comes to its end, and is not run
// again; what is after it is not begun. The next run is about the newer one.
func TestNewerDocument(t *testing.T) {
	m := newMachine(t)
	slow := object{"name": "slow", "run": "echo begun >> $FAKE_ROOT/order; until [ -e $FAKE_ROOT/go ]; do sleep 0.05; done; echo ended >> $FAKE_ROOT/order"}
	m.document(object{"commands": []object{slow, {"name": "next", "run": "echo next >> $FAKE_ROOT/order"}}})
	cmd := m.command("--run", "older")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.until("order", "begun")
	newer := object{"digest": "sha256:2", "commands": []object{slow, {"name": "other", "run": "echo other >> $FAKE_ROOT/order"}}}
	m.replace(newer)
	m.write("go", "")
	if err := cmd.Wait(); err != nil {
		t.Errorf("giving way is no failure: %v", err)
	}
	var r struct {
		report
		Superseded bool
	}
	if err := json.Unmarshal([]byte(m.read("run/labctl/report.json")), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Superseded || r.OK || r.State != "done" || r.Digest != "sha256:1" || len(r.Errors) > 0 {
		t.Errorf("report of the older run: %+v", r)
	}
	m.want(nil, 0, "command other: run")
	if got := m.read("order"); got != "begun\nended\nother\n" {
		t.Errorf("ran: %q", got)
	}
	if strings.Contains(m.read("run/labctl/report.json"), `"superseded": true`) {
		t.Error("the newer run says that it was left, too")
	}
}

// What only waits for another machine gives way at once, and the same document written again is no newer one.
func TestNewerDocumentWhileWaiting(t *testing.T) {
	m := newMachine(t)
	d := waiting(closed(t), 300)
	m.document(d)
	cmd := m.command("--run", "older")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.until("run/labctl/report.json", "app waits for db on two")
	m.replace(d)
	time.Sleep(time.Second) // it looks between two tries
	if r := m.read("run/labctl/report.json"); !strings.Contains(r, `"state": "running"`) {
		t.Errorf("it gave way to the document it works on: %s", r)
	}
	m.replace(object{"digest": "sha256:2"})
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if r := m.read("run/labctl/report.json"); !strings.Contains(r, `"superseded": true`) {
		t.Errorf("report: %s", r)
	}
	m.want(nil, 0)
}
