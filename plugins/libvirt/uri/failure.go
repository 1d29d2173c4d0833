package uri

import (
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// Failure is an error of the way to libvirt, and the command that mends its cause.
type Failure struct {
	Coded *provider.Error
	Fix   string // for a shell of the user's
}

func (f *Failure) Error() string { return f.Coded.Error() }
func (f *Failure) Unwrap() error { return f.Coded }

func failure(code provider.Code, text, fix string) error {
	return &Failure{&provider.Error{Code: code, Text: text}, fix}
}

// Login are the words that bring the user to the URI's host: "ssh -p 2222 root@cuda"; "" where that is this one, or
// another way than ssh's leads there.
func (u URI) Login() string {
	if u.Transport != "ssh" {
		return ""
	}
	if u.Port != "" {
		return "ssh -p " + u.Port + " " + u.who()
	}
	return "ssh " + u.who()
}

func (u URI) who() string {
	if u.User != "" {
		return u.User + "@" + u.Host
	}
	return u.Host
}

// There is a command for a shell of the user's that runs another one, with sudo, on the URI's host.
func (u URI) There(command string) string {
	login := u.Login()
	if login == "" {
		return command
	}
	if u.User == "root" {
		return login + " " + quote(strings.ReplaceAll(command, "sudo ", ""))
	}
	return strings.Replace(login, "ssh ", "ssh -t ", 1) + " " + quote(command) // sudo may ask for a password
}

// trouble is what a program's words mean.
type trouble struct {
	words string
	code  provider.Code
	text  string
	fix   string
}

// loginError is about the way to the other host.
func (u URI) loginError(said string) error {
	who, try := u.who(), u.Login()
	config := "$EDITOR ~/.ssh/config   # Host " + u.Host + ", then "
	return meaning(said, []trouble{
		{"REMOTE HOST IDENTIFICATION HAS CHANGED", provider.Denied, "the host key of " + u.Host + " has changed since you last connected: if that is right, remove the old one (ssh-keygen -R) and connect once by hand: " + try,
			"ssh-keygen -R " + u.known() + " && " + try + "   # if it is right that it has changed"},
		{"Host key verification failed", provider.Denied, "the host key of " + u.Host + " is not known: connect once by hand and check it: " + try, try + "   # check the key, and answer yes"},
		{"Could not resolve hostname", provider.NotFound, "no such host: " + u.Host, config + "HostName and its address; or correct the target's uri"},
		{"Too many authentication failures", provider.Denied, "ssh offered " + who + " too many keys: name the right one in ~/.ssh/config, or add ?keyfile= to the uri", config + "IdentityFile, and IdentitiesOnly yes"},
		{"Permission denied (", provider.Denied, "ssh may not log in as " + who + " without a password: load the key into your agent, or add ?keyfile= to the uri; try by hand: " + try,
			strings.Replace(try, "ssh ", "ssh-copy-id ", 1) + "   # or: ssh-add, if the host knows your key"},
		{"Connection refused", provider.Unavailable, "no ssh server answers at " + u.sshd() + ": the connection is refused", u.server()},
		{"Connection timed out", provider.Unavailable, u.Host + " does not answer", "ping " + u.Host},
		{"No route to host", provider.Unavailable, "there is no way to " + u.Host, "ping " + u.Host},
		{"Network is unreachable", provider.Unavailable, "there is no way to " + u.Host, "ip route get " + u.Host},
		{"", provider.Unavailable, "the ssh connection to " + u.Host + " ended", try + "   # to see why"},
	}, "ssh said")
}

// sshd is the host's, with the port that the URI names.
func (u URI) sshd() string {
	if u.Port != "" {
		return u.Host + ", port " + u.Port
	}
	return u.Host
}

// server is what to do where no ssh server answers.
func (u URI) server() string {
	install := "sudo apt-get install -y openssh-server   # there"
	if u.Port != "" {
		return install + "; or correct the port in the target's uri"
	}
	return install
}

// known is the host's name in known_hosts.
func (u URI) known() string {
	if u.Port != "" {
		return quote("[" + u.Host + "]:" + u.Port)
	}
	return u.Host
}

// helperError is about the way from there to libvirt.
func (u URI) helperError(said string) error {
	who := "your user"
	if u.User != "" {
		who = u.User
	}
	lacks := u.Host + " has neither virt-ssh-helper nor nc, one of which leads to libvirt: install libvirt-daemon or netcat-openbsd there"
	return meaning(said, []trouble{
		{"Permission denied", provider.Denied, who + " may not use libvirt's socket on " + u.Host + ": it must be root there or in the group libvirt", u.There("sudo usermod -aG libvirt $USER")},
		{"not found", provider.NotFound, lacks, u.There("sudo apt-get install -y netcat-openbsd")},
		{"no socket of libvirt", provider.Unavailable, "libvirt is not running on " + u.Host, u.There(installLibvirt)},
		{"", provider.Unavailable, "libvirt does not answer on " + u.Host, u.There("sudo systemctl restart libvirtd")},
	}, "it said")
}

// installLibvirt gets libvirt and starts it, whichever of both is missing.
const installLibvirt = "sudo apt-get install -y libvirt-daemon-system && sudo systemctl enable --now libvirtd"

// meaning is the first of troubles whose words were said; the last has none, and so is meant where nothing else is.
func meaning(said string, troubles []trouble, who string) error {
	for _, t := range troubles {
		if strings.Contains(said, t.words) {
			return failure(t.code, t.text+" ("+who+": "+last(said)+")", t.fix)
		}
	}
	return nil // not reached: everything has ""
}
