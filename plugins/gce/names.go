package gce

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// owner is whose a thing is.
type owner struct{ lab, target string }

// mark says whose a thing is and what it is for its lab. Kinds without labels carry it as JSON in their description,
// which many of them never change again: so identity only, and no digest. Disks have it there too, for their image.
type mark struct {
	Lab    string `json:"lab"`
	Target string `json:"target"`
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Image  string `json:"image,omitempty"` // that a disk was made from: what is read back is the newest of a family then
}

// The labels by which instances, disks, addresses and snapshots are found.
const (
	labelLab     = "labctl-lab"
	labelTarget  = "labctl-target"
	labelMachine = "labctl-machine"
	labelName    = "labctl-name"    // of a disk within its machine
	labelProtect = "labctl-protect" // of a disk
	labelKept    = "labctl-kept"    // of a snapshot that keeps a protected disk
)

// marked is the description of what has mark m.
func (m mark) description() string {
	b, _ := json.Marshal(map[string]mark{"labctl": m}) // plain strings: cannot fail
	return string(b)
}

// readMark is the mark in a description; false if there is none.
func readMark(description string) (mark, bool) {
	var d struct {
		Mark *mark `json:"labctl"`
	}
	if json.Unmarshal([]byte(description), &d) != nil || d.Mark == nil {
		return mark{}, false
	}
	return *d.Mark, true
}

// mark is the owner's, for one of its things.
func (o owner) mark(kind, name string) mark {
	return mark{Lab: o.lab, Target: o.target, Kind: kind, Name: name}
}

// owns says whether a mark is the owner's and of that kind.
func (o owner) owns(m mark, kind string) bool {
	return m.Lab == o.lab && m.Target == o.target && m.Kind == kind && m.Name != ""
}

// labels are those of a thing that belongs to a machine.
func (o owner) labels(machine, name string) map[string]string {
	l := map[string]string{labelLab: o.lab, labelTarget: o.target, labelMachine: machine}
	if name != "" {
		l[labelName] = name
	}
	return l
}

// ownsLabels says whether labels are the owner's.
func (o owner) ownsLabels(l map[string]string) bool {
	return l[labelLab] == o.lab && l[labelTarget] == o.target && l[labelMachine] != ""
}

// maxName is how long a name may be (RFC 1035).
const maxName = 63

// name is a thing's name in the project, the same for everybody: readable at the front and, by a hash of all that
// it is, nobody else's. ("a-b" and "c" are not "a" and "b-c", and 63 characters are soon full.)
func (o owner) name(kind, name string) string {
	sum := sha256.Sum256([]byte("gce\x00" + o.lab + "\x00" + o.target + "\x00" + kind + "\x00" + name))
	text := slug(o.lab + "-" + name)
	if text[0] < 'a' || text[0] > 'z' {
		text = "l" + text
	}
	const tail = 7
	if len(text) > maxName-tail {
		text = strings.TrimRight(text[:maxName-tail], "-")
	}
	return text + "-" + hex.EncodeToString(sum[:3])
}

// slug is text in the letters of names.
func slug(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	if b.Len() == 0 {
		return "x"
	}
	return strings.TrimRight(b.String(), "-")
}

func addr(kind, name string) provider.Addr {
	return provider.Addr{Provider: Name, Kind: kind, Name: name}
}
