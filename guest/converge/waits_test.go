package converge_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// waiting is a document in which app waits for a port, and the machine's own command comes last.
func waiting(port int, within float64) object {
	return object{
		"units": []object{{"name": "first", "enabled": true, "running": true}, {"name": "app", "enabled": true, "running": true}, {"name": "own", "enabled": true, "running": true}},
		"commands": []object{{"name": "app: init", "run": "echo app >> $FAKE_ROOT/order"}, {"name": "first: init", "run": "echo first >> $FAKE_ROOT/order"},
			{"name": "own", "run": "echo own >> $FAKE_ROOT/order"}},
		"waits": []object{
			{"role": "app", "units": []string{"app"}, "commands": []string{"app: init"}, "for": []object{
				{"name": "db on two", "kind": "tcp", "check": object{"to": "127.0.0.1", "port": port}, "within": within}}},
			{"role": "", "units": []string{"own"}, "commands": []string{"own"}},
		},
	}
}

// closed is a port of this host where nobody listens.
func closed(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// What a role starts waits for what the role waits for; everything before comes first, what is the machine's own last. It
// says meanwhile for what it waits.
func TestWaits(t *testing.T) {
	m := newMachine(t)
	port := closed(t)
	m.document(waiting(port, 300))
	cmd := m.command("--run", "x")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	phase := fmt.Sprintf(`"phase": "app waits for db on two: tcp 127.0.0.1:%d"`, port)
	for end := time.Now().Add(2 * time.Minute); !m.exists("run/labctl/report.json") || !strings.Contains(m.read("run/labctl/report.json"), phase); {
		if time.Now().After(end) {
			t.Fatalf("it does not say that it waits: %s", m.read("run/labctl/report.json"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := m.calls() + m.read("order"); strings.Contains(got, "app") || strings.Contains(got, "own") || !strings.Contains(got, "first") {
		t.Errorf("before: %s", got)
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Skip("somebody else has the port now: ", err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := m.read("order"); got != "first\napp\nown\n" {
		t.Errorf("order: %s", got)
	}
	l.Close() // once everything is as it should be nobody is asked any more
	m.document(waiting(port, 0.1))
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)
}

// What does not come is said with what was found; only what waited for it is left out.
func TestWaitsEnd(t *testing.T) {
	m := newMachine(t)
	port := closed(t)
	m.document(waiting(port, 0.5))
	m.want([]string{"--check"}, 2, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "unit first: is not enabled", "unit first: does not run",
		"command first: init: has not run", "unit app: is not enabled", "unit app: does not run", "command app: init: has not run",
		"unit own: is not enabled", "unit own: does not run", "command own: has not run")
	m.want(nil, 1, "user lab: authorized keys", "hosts: the lab's block of /etc/hosts", "unit first: is not enabled", "unit first: does not run",
		"command first: init: run", "unit own: is not enabled", "unit own: does not run", "command own: run",
		fmt.Sprintf("FAILED wait: app waits for db on two: tcp 127.0.0.1:%d; given up after 0.5 seconds: 127.0.0.1: connection refused", port))
}
