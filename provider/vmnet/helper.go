package vmnet

import (
	"bytes"
	_ "embed"
	"net/netip"
	"text/template"
)

// Program is where the helper keeps socket_vmnet: root runs it, so nobody else may write it, as anybody in the group admin
// may in Homebrew's folders.
const Program = "/opt/labctl/bin/socket_vmnet"

// Helper is a service of launchd that runs socket_vmnet for a segment.
type Helper struct {
	Segment   Segment  `json:"segment"`
	Label     string   `json:"label"`
	File      string   `json:"file"` // of its property list
	Arguments []string `json:"arguments"`
	Log       string   `json:"log"`
}

// NewHelper is labctl's for a segment. Its sockets are open to the group staff, in which everybody is who logs in to a Mac.
func NewHelper(s Segment) Helper {
	label := "dev.labctl.vmnet." + s.mode()
	h := Helper{Segment: s, Label: label, File: "/Library/LaunchDaemons/" + label + ".plist", Log: "/var/log/labctl.vmnet." + s.mode() + ".log"}
	h.Arguments = []string{Program, "--socket-group=staff"}
	switch name := s.Interface(); {
	case name != "":
		h.Arguments = append(h.Arguments, "--vmnet-mode=bridged", "--vmnet-interface="+name)
	case s == Host:
		h.Arguments = append(append(h.Arguments, "--vmnet-mode=host"), gateway(HostCIDR)...)
	default:
		h.Arguments = append(append(h.Arguments, "--vmnet-mode=shared"), gateway(SharedCIDR)...)
	}
	h.Arguments = append(h.Arguments, s.Sockets()[0])
	return h
}

// gateway has macOS at the first address of a network, and gives strangers those up to .31: the others are the lab's.
func gateway(cidr string) []string {
	at := netip.MustParsePrefix(cidr).Addr()
	first, end := at.Next(), at.As4()
	end[3] = 31
	return []string{"--vmnet-gateway=" + first.String(), "--vmnet-dhcp-end=" + netip.AddrFrom4(end).String(), "--vmnet-mask=255.255.255.0"}
}

//go:embed helper.plist
var plistText string

//go:embed helper.sh
var scriptText string

// Plist is the helper's property list (launchd.plist(5)).
func (h Helper) Plist() string { return fill(plistText, h) }

// Script installs helpers, and what they run: for root, on macOS.
func Script(all []Helper) string {
	return fill(scriptText, struct {
		Program string
		Helpers []Helper
	}{Program, all})
}

func fill(text string, with any) string {
	var b bytes.Buffer
	if err := template.Must(template.New("").Parse(text)).Execute(&b, with); err != nil {
		panic(err) // text and data are this package's own
	}
	return b.String()
}
