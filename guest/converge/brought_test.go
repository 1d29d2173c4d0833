package converge_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What labctl brings is waited for, looked at, and told to who depends on it; nothing is started without it.
func TestBrought(t *testing.T) {
	m := newMachine(t)
	const at, note = "/srv/images/one", "var/lib/labctl/delivered/b13478462ab8c403.json"
	doc := func(id string) {
		m.document(object{
			"files": []object{{"path": at, "from": object{"image": "one", "id": id}, "mode": "0644", "owner": "root", "group": "root", "restart": []string{"app"}}},
			"units": []object{{"name": "app", "enabled": true, "running": true}},
		})
	}
	bring := func(id, text string) {
		t.Helper()
		m.write("srv/images/one/disk.zst", text)
		when := time.Unix(1_000_000_000+int64(len(text)), 0)
		if err := os.Chtimes(filepath.Join(m.root, "srv/images/one/disk.zst"), when, when); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(object{"path": at, "id": id, "items": []object{{"path": at + "/disk.zst", "sha256": sha(text), "length": len(text), "time": when.Unix()}}})
		if err != nil {
			t.Fatal(err)
		}
		m.write(note, string(b))
	}
	doc("1")
	m.want([]string{"--check"}, 2, changed("file /srv/images/one: is missing", "unit app: is not enabled", "unit app: does not run")...)
	m.want(nil, 1, changed("FAILED file /srv/images/one: labctl has not brought it yet: apply does that")...)
	bring("1", "one")
	m.want(nil, 0, "file /srv/images/one: brought", "unit app: is not enabled", "unit app: does not run")
	m.want(nil, 0)
	m.want([]string{"--check"}, 0)

	// Somebody changes it; another is wanted; it comes.
	m.write("srv/images/one/disk.zst", "two")
	m.want([]string{"--check"}, 2, "file /srv/images/one: content")
	doc("2")
	m.want(nil, 1, "FAILED file /srv/images/one: labctl has not brought it yet: apply does that")
	bring("2", "other")
	m.want(nil, 0, "file /srv/images/one: brought", "unit app: restarted, its files changed")
	m.want(nil, 0)

	// Of what is no longer in the lab nothing stays.
	m.document(object{"units": []object{{"name": "app", "enabled": true, "running": true}}})
	m.want(nil, 0, "file /srv/images/one: removed", "unit app: restarted, its files changed")
	if m.exists("srv/images/one") || m.exists(note) {
		t.Error("what labctl had brought is still there")
	}
	m.want(nil, 0)
}
