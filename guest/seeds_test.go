package guest_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/lab"
)

// sample has every kind of network and item.
func sample() lab.Lab {
	return lab.Complete(lab.Lab{
		Name: "demo", Domain: "demo.lab",
		Networks: []lab.Network{
			{Name: "lan", Uplink: true, MTU: 1500},
			{Name: "wan", Uplink: true, CIDR: netip.MustParsePrefix("192.0.2.0/24"), MTU: 1500},
			{Name: "office", CIDR: netip.MustParsePrefix("10.20.0.0/24"), MTU: 9000},
			{Name: "back", CIDR: netip.MustParsePrefix("fd00:1::/64"), MTU: 1500},
		},
		Machines: []lab.Machine{
			{Name: "web", NICs: []lab.NIC{{Network: "lan"}, {Network: "office", Addr: netip.MustParseAddr("10.20.0.10")}, {Network: "wan", Addr: netip.MustParseAddr("192.0.2.9")}}, Guest: lab.Guest{
				User: "lab", Packages: []string{"nginx"},
				Files:    []lab.File{{Path: "/etc/a", Text: "<a>\n", Mode: "0644", Owner: "root", Group: "root", Restart: []string{"nginx"}}, {Path: "/etc/key", Secret: "tls", Mode: "0600", Owner: "root", Group: "root"}},
				Units:    []lab.Unit{{Name: "nginx", Enabled: true, Running: true}},
				Commands: []lab.Command{{Name: "init", Run: "true", Creates: "/x"}},
			}},
			{Name: "db", NICs: []lab.NIC{{Network: "back", Addr: netip.MustParseAddr("fd00:1::5")}, {Network: "wan", Addr: netip.MustParseAddr("192.0.2.8")}, {Network: "office", Addr: netip.MustParseAddr("10.20.0.11")}}, Guest: lab.Guest{User: "lab"}},
			{Name: "lone", NICs: []lab.NIC{{Network: "lan"}}, Guest: lab.Guest{User: "lab"}},
		},
	})
}

func keys() guest.Keys {
	k := guest.Keys{Authorized: []string{"ssh-ed25519 AAAA me"}, Host: map[string]guest.HostKey{}}
	for _, m := range []string{"web", "db", "lone"} {
		k.Host[m] = guest.HostKey{Private: "PRIVATE " + m, Public: "PUBLIC " + m}
	}
	return k
}

func TestDocumentGolden(t *testing.T) {
	s, err := guest.Seeds(sample(), keys(), map[string]string{"tls": "the value"})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []string{"web", "db", "lone"} {
		goldentest.File(t, "testdata/"+m+".json", string(s[m].Guest))
	}
}

func TestDigest(t *testing.T) {
	digest := func(l lab.Lab, k guest.Keys, secrets map[string]string) string {
		t.Helper()
		s, err := guest.Seeds(l, k, secrets)
		if err != nil {
			t.Fatal(err)
		}
		var d guest.Document
		if err := json.Unmarshal(s["web"].Guest, &d); err != nil || d.Digest != s["web"].Digest {
			t.Fatalf("%v: the document has the digest %s, the seed %s", err, d.Digest, s["web"].Digest)
		}
		return d.Digest
	}
	base := digest(sample(), guest.Keys{}, nil)
	for name, got := range map[string]string{
		"with keys and secrets": digest(sample(), keys(), map[string]string{"tls": "1"}),
		"with another secret":   digest(sample(), keys(), map[string]string{"tls": "2"}),
	} {
		if got != base {
			t.Errorf("%s: the digest is another", name)
		}
	}
	for name, change := range map[string]func(*lab.Lab, *lab.Machine){
		"another secret's name": func(_ *lab.Lab, m *lab.Machine) { m.Guest.Files[1].Secret = "other" },
		"a file's text":         func(_ *lab.Lab, m *lab.Machine) { m.Guest.Files[0].Text = "b" },
		"a neighbour's address": func(l *lab.Lab, _ *lab.Machine) { l.Machines[0].NICs[2].Addr = netip.MustParseAddr("10.20.0.99") },
		"the MTU":               func(l *lab.Lab, _ *lab.Machine) { l.Networks[2].MTU = 1400 },
		"the user":              func(_ *lab.Lab, m *lab.Machine) { m.Guest.User = "admin" },
	} {
		l := sample()
		for i := range l.Machines {
			if l.Machines[i].Name == "web" {
				change(&l, &l.Machines[i])
			}
		}
		if digest(l, guest.Keys{}, nil) == base {
			t.Errorf("%s: the digest is the same", name)
		}
	}
}

func TestPlanTimeSeedsHoldNoValues(t *testing.T) {
	s, err := guest.Seeds(sample(), guest.Keys{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(s["web"].Guest); !strings.Contains(text, `"secret": "tls"`) || !strings.Contains(text, `"authorized_keys": []`) {
		t.Error(text)
	}
	if strings.Contains(string(s["web"].UserData), "ssh_keys") {
		t.Error("a host key out of nothing")
	}
}

// Words of a text give way to secrets' values in one pass: neither a value nor a shorter word is found in what was put
// there. The names of the secrets count in the digest, their values do not.
func TestFilledFiles(t *testing.T) {
	made := func(secrets map[string]string, fill map[string]string) (string, string) {
		t.Helper()
		l := sample()
		for i := range l.Machines {
			if m := &l.Machines[i]; m.Name == "web" {
				m.Guest.Files = []lab.File{{Path: "/etc/app", Text: "a=@A2@ b=@A b=@A", Mode: "0600", Owner: "root", Group: "root", Fill: fill}}
			}
		}
		s, err := guest.Seeds(l, keys(), secrets)
		if err != nil {
			t.Fatal(err)
		}
		var d guest.Document
		if err := json.Unmarshal(s["web"].Guest, &d); err != nil {
			t.Fatal(err)
		}
		return d.Files[0].Text, d.Digest
	}
	fill := map[string]string{"@A": "one", "@A2@": "two"}
	text, digest := made(map[string]string{"one": "@A2@", "two": "$1"}, fill)
	if text != "a=$1 b=@A2@ b=@A2@" {
		t.Errorf("the text is %q", text)
	}
	if _, other := made(map[string]string{"one": "1", "two": "2"}, fill); other != digest {
		t.Error("values count in the digest")
	}
	if _, other := made(map[string]string{"one": "1", "two": "2"}, map[string]string{"@A": "two", "@A2@": "two"}); other == digest {
		t.Error("names of secrets do not count in the digest")
	}
}

func TestSeedErrors(t *testing.T) {
	noKey := keys()
	delete(noKey.Host, "web")
	for want, c := range map[string]struct {
		k       guest.Keys
		secrets map[string]string
	}{
		`servers.web: file /etc/key: secret "tls" has no value`: {keys(), map[string]string{"other": "x"}},
		`servers.web: file /etc/key: secret "tls" is not UTF-8`: {keys(), map[string]string{"tls": "\xff"}},
		`servers.web: no ssh host key was made for it`:          {noKey, map[string]string{"tls": "x"}},
	} {
		_, err := guest.Seeds(sample(), c.k, c.secrets)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestSeedsLeaveTheLabAlone(t *testing.T) {
	l := sample()
	if _, err := guest.Seeds(l, keys(), map[string]string{"tls": "value"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), l, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}
