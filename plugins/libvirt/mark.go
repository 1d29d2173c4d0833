package libvirt

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"

	"libvirt.org/go/libvirtxml"
)

// The mark by which a domain or network is known as ours, in its <metadata>.
const (
	markURI = "https://labctl.dev/libvirt/1"
	markKey = "labctl"
)

// mark says whose a domain or network is, and what of it cannot be read back.
type mark struct {
	Lab    string
	Target string // who made it called the target so; for people
	Name   string // the spec's name of the machine or network
	note
}

// note is the part of a mark that is no identity.
type note struct {
	Protect bool `json:"protect,omitempty"`
	// Precious are disks that are protected though the machine is not: a volume has no metadata to say so.
	Precious []string    `json:"precious,omitempty"`
	Image    string      `json:"image,omitempty"`   // identity of the image whose kernel is loaded; firmware "kernel" only
	Kernel   bool        `json:"kernel,omitempty"`  // the spec said firmware "kernel"
	CPU      string      `json:"cpu,omitempty"`     // the target's option; "" is the best there is
	Type     string      `json:"type,omitempty"`    // likewise
	Board    string      `json:"board,omitempty"`   // likewise
	Seeding  bool        `json:"seeding,omitempty"` // the seed is just being written: if it stays so, it is not whole
	Adopted  string      `json:"adopted,omitempty"` // what was there before the lab, by its name then: it is never ours to delete
	Plugged  []string    `json:"plugged,omitempty"` // MACs of the NICs that labctl has plugged into an adopted machine
	Guest    *guestAttrs `json:"guest,omitempty"`   // what was once true inside
	Restore  string      `json:"restore,omitempty"` // the snapshot that is just being brought back: if it stays so, the disks are not whole
}

type markXML struct {
	XMLName xml.Name
	Lab     string `xml:"lab,attr"`
	Target  string `xml:"target,attr,omitempty"`
	Name    string `xml:"name,attr"`
	Note    string `xml:",chardata"`
}

// element is the mark as it stands in <metadata>.
func (m mark) element() string {
	b, _ := json.Marshal(m.note) // plain data: cannot fail
	out := &strings.Builder{}
	esc := func(s string) string {
		var e bytes.Buffer
		_ = xml.EscapeText(&e, []byte(s)) // to memory: cannot fail
		return e.String()
	}
	out.WriteString(`<labctl:object xmlns:labctl="` + markURI + `" lab="` + esc(m.Lab) + `" target="` + esc(m.Target) + `" name="` + esc(m.Name) + `">`)
	out.WriteString(esc(string(b)))
	out.WriteString(`</labctl:object>`)
	return out.String()
}

// bare is the mark as virDomainSetMetadata wants it: libvirt gives it the name space and its prefix.
func (m mark) bare() string {
	s := strings.Replace(m.element(), ` xmlns:labctl="`+markURI+`"`, "", 1)
	return strings.ReplaceAll(s, "labctl:object", "object")
}

// readMark finds our mark among a thing's metadata. false: the thing is not ours.
func readMark(metadata string) (mark, bool) {
	x, ok := glanceMark(metadata)
	if !ok {
		x, ok = fullMark(metadata)
	}
	m := mark{Lab: x.Lab, Target: x.Target, Name: x.Name}
	if !ok || strings.TrimSpace(x.Note) != "" && json.Unmarshal([]byte(x.Note), &m.note) != nil {
		return mark{}, false
	}
	return m, m.Lab != "" && m.Name != ""
}

// glanceMark reads our mark where it stands as labctl wrote it, and first.
func glanceMark(metadata string) (x markXML, ok bool) {
	e, _, ok := skipped{}.element(strings.TrimSpace(metadata))
	if !ok || e.name != "labctl:object" || e.attr("xmlns:labctl") != markURI || len(e.kids) > 0 {
		return x, false
	}
	return markXML{Lab: e.attr("lab"), Target: e.attr("target"), Name: e.attr("name"), Note: e.text()}, true
}

// fullMark finds our mark wherever it stands.
func fullMark(metadata string) (x markXML, ok bool) {
	d := xml.NewDecoder(strings.NewReader(metadata))
	for {
		t, err := d.Token()
		if err != nil { // io.EOF, or a text that libvirt would not have kept
			return x, false
		}
		s, start := t.(xml.StartElement)
		if !start || s.Name.Space != markURI || s.Name.Local != "object" {
			continue
		}
		err = d.DecodeElement(&x, &s)
		return x, err == nil || err == io.EOF
	}
}

func domainMark(d libvirtxml.Domain) (mark, bool) {
	if d.Metadata == nil {
		return mark{}, false
	}
	return readMark(d.Metadata.XML)
}

func networkMark(n libvirtxml.Network) (mark, bool) {
	if n.Metadata == nil {
		return mark{}, false
	}
	return readMark(n.Metadata.XML)
}
