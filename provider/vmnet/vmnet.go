// Package vmnet knows socket_vmnet (https://github.com/lima-vm/socket_vmnet), the program by which processes without
// privileges are on networks of macOS' vmnet.framework: where its sockets are, and how launchd starts it. It is pure.
//
// A socket of it is one port of an Ethernet segment: frames cross it as they cross QEMU's `-netdev stream`, each behind a
// length of 4 bytes, big-endian. So whoever has a switch that speaks this joins it by dialling.
//
// It must not know QEMU, labs, or who dials.
package vmnet

import (
	"fmt"
	"regexp"
	"strings"
)

// Segment is a network of macOS: "shared", "host", or "bridged:" and an interface of the Mac.
type Segment string

// The segments.
const (
	Shared Segment = "shared" // macOS gives NAT, and addresses to those who ask
	Host   Segment = "host"   // the Mac and nobody else
	// bridged is before the name of an interface whose network it is.
	bridged = "bridged:"
)

// The addresses that labctl's helper gives to segments, those that Lima takes, too. macOS has the first of each.
const (
	SharedCIDR = "192.168.105.0/24"
	HostCIDR   = "192.168.106.0/24"
)

var nic = regexp.MustCompile(`^[a-z]+[0-9]+$`)

// Parse reads a segment.
func Parse(s string) (Segment, error) {
	name, isBridged := strings.CutPrefix(s, bridged)
	switch {
	case s == string(Shared), s == string(Host), isBridged && nic.MatchString(name):
		return Segment(s), nil
	case isBridged:
		return "", fmt.Errorf("%q names no interface such as \"bridged:en0\"", s)
	}
	return "", fmt.Errorf("%q is none of \"shared\", \"host\", \"bridged:en0\"", s)
}

// Interface is the Mac's interface that the segment is bridged to; "" if it is not.
func (s Segment) Interface() string {
	name, _ := strings.CutPrefix(string(s), bridged)
	if name == string(s) {
		return ""
	}
	return name
}

// mode is the segment in names of files and services: "shared", "host", "bridged.en0".
func (s Segment) mode() string { return strings.ReplaceAll(string(s), ":", ".") }

// Sockets are where the segment's socket may be, first that of labctl's helper, then those of Homebrew, MacPorts and Lima.
// All are at most 103 bytes long.
func (s Segment) Sockets() []string {
	socket := "socket_vmnet"
	if s != Shared {
		socket += "." + s.mode()
	}
	return []string{
		"/var/run/labctl.vmnet." + s.mode(),
		"/opt/homebrew/var/run/" + socket,
		"/usr/local/var/run/" + socket,
		"/var/run/" + socket,
		"/private/var/run/lima/socket_vmnet." + s.mode(),
	}
}
