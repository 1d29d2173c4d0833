// Package first is what the installer does as the first process of a Linux: it mounts what every process needs, loads
// the modules that its initrd brings, brings the network up, and ends by restarting the machine.
//
// It must not know what is installed.
package first

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Line is what the kernel's command line says to the installer.
type Line struct {
	Server string           // labctl.install=URL, below which this machine's business is
	MAC    net.HardwareAddr // labctl.mac=, of the NIC that reaches the server
	Shell  bool             // labctl.shell=URL: a shell on the console instead of an installation
}

// ReadLine reads /proc/cmdline. What is not the installer's is skipped.
func ReadLine(cmdline string) (l Line, err error) {
	for _, word := range strings.Fields(cmdline) {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "labctl.install", "labctl.shell":
			// Two words for one URL: an installer of the time before shells finds no labctl.install, and installs nothing.
			l.Shell = l.Shell || key == "labctl.shell"
			if l.Shell && value == "" {
				continue
			}
			u, err := url.Parse(value)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || net.ParseIP(u.Hostname()) == nil {
				return l, fmt.Errorf("%s=%s on the kernel's command line: the URL of an http server by its address is wanted", key, value)
			}
			l.Server = strings.TrimSuffix(value, "/")
		case "labctl.mac":
			if l.MAC, err = net.ParseMAC(value); err != nil {
				return l, fmt.Errorf("labctl.mac on the kernel's command line: %w", err)
			}
		}
	}
	if !l.Shell && (l.Server == "" || l.MAC == nil) {
		return l, fmt.Errorf("the kernel's command line has no labctl.install or no labctl.mac")
	}
	return l, nil
}

// six says whether the server is reached over IPv6.
func (l Line) six() bool {
	u, err := url.Parse(l.Server)
	return err == nil && strings.Contains(u.Hostname(), ":")
}
