package first

import (
	"strings"
	"testing"
)

// TestReadLine reads kernel command lines: those of now, that of the time before, and wrong ones.
func TestReadLine(t *testing.T) {
	const mac = " labctl.mac=52:54:00:00:00:01"
	for line, want := range map[string]string{
		"quiet labctl.install=http://10.0.0.1/target/x/" + mac: "http://10.0.0.1/target/x shell=false 52:54:00:00:00:01",
		"labctl.install=http://[fd00::1]:8080/x" + mac:         "http://[fd00::1]:8080/x shell=false 52:54:00:00:00:01 six",
		"labctl.shell=http://10.0.0.1/x" + mac:                 "http://10.0.0.1/x shell=true 52:54:00:00:00:01",
		"labctl.shell":                                         " shell=true ",
		"labctl.shell labctl.install=http://10.0.0.1/x" + mac:  "http://10.0.0.1/x shell=true 52:54:00:00:00:01",
		"labctl.install=http://10.0.0.1/x labctl.shell" + mac:  "http://10.0.0.1/x shell=true 52:54:00:00:00:01",
		"quiet":                                            "error: the kernel's command line has no labctl.install or no labctl.mac",
		"labctl.install=http://10.0.0.1/x":                 "error: the kernel's command line has no labctl.install or no labctl.mac",
		"labctl.install=http://boss/x" + mac:               "error: labctl.install=http://boss/x on the kernel's command line: the URL of an http server by its address is wanted",
		"labctl.shell=ftp://10.0.0.1/x" + mac:              "error: labctl.shell=ftp://10.0.0.1/x on the kernel's command line: the URL of an http server by its address is wanted",
		"labctl.install=http://10.0.0.1/x labctl.mac=nine": "error: labctl.mac on the kernel's command line: address nine: invalid MAC address",
	} {
		l, err := ReadLine(line)
		got := l.Server + " shell=" + map[bool]string{true: "true", false: "false"}[l.Shell] + " " + l.MAC.String()
		if l.six() {
			got += " six"
		}
		if err != nil {
			got = "error: " + err.Error()
		}
		if strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s\n got %s\nwant %s", line, got, want)
		}
	}
}
