package guest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// What a machine has besides files stands in its document; the value of a password only there, and it is no part of the digest.
func TestPartsOfTheDocument(t *testing.T) {
	l := sample()
	l.Machines[2].Guest.Sources = []lab.Source{{Name: "vendor", URL: "http://x/d", Suites: []string{"./"}, Arches: []lab.Arch{lab.AMD64}, Key: lab.Key{URL: "http://x/k", Fingerprint: strings.Repeat("0", 40)}}}
	l.Machines[2].Guest.Data = []lab.Data{{Path: "/srv/app", Disk: lab.DataDisk("/srv/app"), Size: lab.GiB, Owner: "app", Group: "app", Mode: "0750"}}
	l.Machines[2].Guest.Users = []lab.Account{{Name: "app", Password: "app", System: true}, {Name: "ci"}}
	web := l.Machines[2].Name
	made := func(value string) lab.Seed {
		t.Helper()
		s, err := guest.Seeds(l, keys(), map[string]string{"tls": "v", "app": value})
		if err != nil {
			t.Fatal(err)
		}
		return s[web]
	}
	s := made("one\n")
	var d guest.Document
	if err := json.Unmarshal(s.Guest, &d); err != nil {
		t.Fatal(err)
	}
	if d.Users[0].Value != "one" || d.Users[1].Value != "" || d.Sources[0].Name != "vendor" || d.Data[0].Disk != l.Machines[2].Guest.Data[0].Disk {
		t.Errorf("%+v", d)
	}
	if other := made("two"); other.Digest != s.Digest || string(other.Guest) == string(s.Guest) {
		t.Error("another password is another document of the same digest")
	}
	plan, err := guest.Seeds(l, keys(), nil)
	var planned guest.Document
	if err != nil || plan[web].Digest != s.Digest || json.Unmarshal(plan[web].Guest, &planned) != nil || planned.Users[0].Value != "" {
		t.Errorf("for planning: %v\n%+v", err, planned.Users)
	}
	for value, want := range map[string]string{"": "is not one line", "a\nb": "is not one line", "\xff": "is not UTF-8"} {
		_, err := guest.Seeds(l, keys(), map[string]string{"tls": "v", "app": value})
		if err == nil || !strings.Contains(err.Error(), "user app: secret \"app\" "+want) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

// Names of data disks fit where they are shown whole: a virtio serial number and an ext4 label.
func TestDataDiskNames(t *testing.T) {
	seen := map[string]string{}
	for _, folder := range []string{"/var/lib/mysql", "/srv/mysql", "/srv/a-very-long-name", "/srv/Ünïcode", "/srv/---", "/", "/srv/9"} {
		name := lab.DataDisk(folder)
		if len(name) > 16 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(name, "-") || seen[name] != "" {
			t.Errorf("%s: %q", folder, name)
		}
		seen[name] = folder
	}
}
