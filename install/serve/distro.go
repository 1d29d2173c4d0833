package serve

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/labctl-dev/labctl/guest/seediso"
	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/lab"
)

// The phases of distributions' installers. They are reported as install.Phase, and theirs alone.
var phases = map[lab.Answers][]string{
	lab.Preseed:     {"started", "mirror", "components", "partition", "base", "packages", "bootloader", "finish"},
	lab.Autoinstall: {"started", "install", "finish"},
}

// phases is how many its installer has.
func (t Target) phases() int {
	if t.Installer == nil {
		return len(install.Phases())
	}
	return len(phases[t.Installer.Answers])
}

// needed is what labctl needs in a machine, or what people expect of one of a lab, that an installer does not choose by itself.
var needed = map[lab.Answers][]string{
	lab.Preseed: {
		"openssh-server", "cloud-init", "cloud-guest-utils", "python3", "sudo", "ca-certificates", "iproute2", "iputils-ping",
		"nftables", "dnsmasq-base", "dbus",
	},
	lab.Autoinstall: {"openssh-server", "cloud-init", "python3", "nftables", "dnsmasq-base"},
}

// consoles are where the machine's kernel is heard by labctl. An emulated machine's timer may tick too late for the
// kernel's test of it.
var consoles = map[string]string{
	"amd64": "console=tty0 console=ttyS0,115200 no_timer_check",
	"arm64": "console=tty0 console=ttyAMA0,115200",
}

// Preseed says whether the machine's installer is debian-installer.
func (b boot) Preseed() bool { return b.Target.Installer.Answers == lab.Preseed }

// Dashed is the MAC as PXELINUX writes it.
func (b boot) Dashed() string { return strings.ReplaceAll(b.MAC, ":", "-") }

// Phases are those of its installer.
func (b boot) Phases() []string { return phases[b.Target.Installer.Answers] }

// List are the packages that are asked for.
func (b boot) List() []string {
	i := b.Target.Installer
	return append(append([]string{}, needed[i.Answers]...), i.Packages...)
}

// Packages is List as one line.
func (b boot) Packages() string { return strings.Join(b.List(), " ") }

// Console is what the installed machine's kernel is told.
func (b boot) Console() string { return consoles[b.Target.Arch] }

// HostPort, Host and Port are those of the server.
func (b boot) HostPort() string { return strings.TrimPrefix(b.Server, "http://") }

// Host is an address without brackets.
func (b boot) Host() string {
	host, _, err := net.SplitHostPort(b.HostPort())
	if err != nil {
		return strings.Trim(b.HostPort(), "[]")
	}
	return host
}

// Port is 80 where the URL has none.
func (b boot) Port() string {
	_, port, err := net.SplitHostPort(b.HostPort())
	if err != nil {
		return "80"
	}
	return port
}

// Mirror is the archive in parts.
func (b boot) Mirror() (*url.URL, error) { return url.Parse(b.Target.Installer.Mirror) }

// distro answers with what the installer of a machine is told, in the language answers ("" is any), made of a template.
func (s *Server) distro(answers lab.Answers, template string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, ok := s.target(r.PathValue("mac"))
		if !ok {
			unknown(w, r)
			return
		}
		if t.Installer == nil || answers != "" && t.Installer.Answers != answers {
			http.NotFound(w, r)
			return
		}
		say(w, template, boot{Server: base(r), MAC: t.MAC, Target: t})
	}
}

// seedFile gives one file of a machine's seed.
func (s *Server) seedFile(w http.ResponseWriter, r *http.Request) {
	t, ok := s.target(r.PathValue("mac"))
	if !ok {
		unknown(w, r)
		return
	}
	name := "seeds/" + t.Machine
	f, err := s.open(name)
	if err != nil {
		missing(w, name, err)
		return
	}
	defer f.Close()
	text, err := seediso.ReadFile(f, r.PathValue("file"))
	if err != nil {
		http.Error(w, name+": "+err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(text)
}
