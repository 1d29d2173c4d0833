package libvirt

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"libvirt.org/go/libvirtxml"
)

func TestDiskVolumes(t *testing.T) {
	for _, c := range []struct{ lab, machine, disk, want string }{
		{"test", "web", "root", "test--web--root.qcow2"},
		{"a", "b--c", "root", "a--b-.-c--root.qcow2"},
		{"a--b", "c", "root", "a-.-b--c--root.qcow2"},
		{"a---b", "c", "d----e", "a-.-.-b--c--d-.-.-.-e.qcow2"},
	} {
		got := diskVolume(c.lab, c.machine, c.disk)
		if got != c.want {
			t.Errorf("diskVolume(%q, %q, %q) = %q, want %q", c.lab, c.machine, c.disk, got, c.want)
		}
		m, d, ok := parseDisk(c.lab, got)
		if !ok || m != c.machine || d != c.disk {
			t.Errorf("parseDisk(%q) = %q, %q, %v", got, m, d, ok)
		}
		for _, other := range []string{"a", "a-", "a--b", "tes", "b"} {
			if _, _, ok := parseDisk(other, got); ok != (other == c.lab) {
				t.Errorf("%s is taken for lab %s's: %v", got, other, ok)
			}
		}
	}
	for _, name := range []string{"test--web--seed.iso", "test--web--console.log", "test--web", "test-web--root.qcow2", "labctl-image-0123.qcow2"} {
		if m, d, ok := parseDisk("test", name); ok {
			t.Errorf("%s is taken for disk %s of machine %s", name, d, m)
		}
	}
	if m, d, ok := parseDisk("test", "test--web--root.snap1"); !ok || m != "web" || d != "root.snap1" {
		t.Errorf("an external snapshot is %s/%s, %v", m, d, ok)
	}
}

func TestMark(t *testing.T) {
	m := mark{Lab: "a<b", Target: `"&'`, Name: "web", note: note{Protect: true, CPU: "max", Guest: &guestAttrs{Digest: "sha256:1", Addresses: map[string]string{"lan": "10.0.0.1"}}}}
	other := `<x:y xmlns:x="http://libosinfo.org/"><x:object lab="no"/></x:y>`
	for _, text := range []string{m.element(), other + m.element(), m.element() + other} {
		got, ok := readMark(text)
		if d := cmp.Diff(m, got, cmp.AllowUnexported(mark{}), cmp.AllowUnexported(note{})); !ok || d != "" {
			t.Errorf("%s: %v\n%s", text, ok, d)
		}
	}
	for _, text := range []string{"", other, "<object lab='a' name='b'/>", strings.Replace(m.element(), "web", "", 1), "<labctl:object"} {
		if got, ok := readMark(text); ok {
			t.Errorf("%q is taken for a mark: %+v", text, got)
		}
	}
	if _, ok := domainMark(libvirtxml.Domain{}); ok {
		t.Error("a domain without metadata is taken for ours")
	}
	if got, ok := readMark(strings.Replace(m.bare(), "<object", `<object xmlns="`+markURI+`"`, 1)); !ok || got.Name != "web" {
		t.Errorf("what DomainSetMetadata gets cannot be read: %s", m.bare())
	}
}

func TestBridgeName(t *testing.T) {
	seen := map[string]bool{}
	for _, n := range []string{"lan", "office", "a-very-long-name-of-a-network-that-goes-on-and-on"} {
		name := bridgeName("test", n)
		if len(name) > 15 || seen[name] {
			t.Errorf("bridge of %s: %q", n, name)
		}
		seen[name] = true
	}
}
