package access

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Host is a machine as the system's ssh is told about it.
type Host struct {
	Alias   string // the name ssh is called with, e.g. "web.quickstart"; also the machine's name in known_hosts
	Machine string // whose host key it has
	User    string
	Key     string // its host key as in known_hosts, where labctl did not give it one
	// Proxy is the command that carries the connection on its stdin and stdout, as words.
	Proxy []string
	// Jump is the machine over which the connection goes, in place of Proxy, to Port (0 is 22) of what is called Name
	// there; nil where it goes over none.
	Jump *Host
	Name string
	Port int
	// Agent forwards the caller's ssh agent to the machine.
	Agent bool
}

// System is labctl's identity laid out for the system's ssh and scp.
type System struct {
	key, known string // files
}

// WriteSystem writes the client's key and a known_hosts file of hosts into dir (mode 0700), whole or not at all, and
// returns how to call ssh with them.
func WriteSystem(dir string, id Identity, hosts []Host) (System, error) {
	s := System{key: filepath.Join(dir, "ssh.key"), known: filepath.Join(dir, "ssh.known_hosts")}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return s, fmt.Errorf("cannot write the keys for ssh: %w", err)
	}
	if err := id.WritePrivate(s.key); err != nil {
		return s, err
	}
	var known strings.Builder
	for _, h := range hosts {
		if h.Key != "" {
			known.WriteString(h.Alias + " " + h.Key + "\n")
			continue
		}
		known.WriteString(id.KnownHost(h.Machine, h.Alias) + "\n")
	}
	return s, writeFile(s.known, []byte(known.String()))
}

// option is one line of ssh_config.
type option struct{ name, value string }

// options are the same for ssh, scp and ssh_config. Values of files are quoted, as all three read them by the same
// rules (ssh_config(5)).
func (s System) options(h Host) []option {
	agent := "no"
	if h.Agent {
		agent = "yes"
	}
	return []option{
		{"HostName", cmp.Or(h.Name, h.Alias)},
		{"Port", strconv.Itoa(cmp.Or(h.Port, 22))},
		{"HostKeyAlias", h.Alias},
		{"User", h.User},
		s.carrier(h),
		{"IdentityFile", quoteOption(s.key)},
		{"IdentitiesOnly", "yes"},
		{"IdentityAgent", identityAgent(h.Agent)},
		{"UserKnownHostsFile", quoteOption(s.known)},
		{"GlobalKnownHostsFile", "/dev/null"},
		{"StrictHostKeyChecking", "yes"},
		{"CheckHostIP", "no"},
		{"UpdateHostKeys", "no"},
		{"PreferredAuthentications", "publickey"},
		{"ForwardAgent", agent},
		{"ControlPath", "none"},
		{"ServerAliveInterval", "15"},
		{"LogLevel", "ERROR"},
	}
}

// carrier is what carries a connection: a command, which may be another ssh.
func (s System) carrier(h Host) option {
	if h.Jump == nil {
		return option{"ProxyCommand", proxy(h.Proxy)}
	}
	argv := append(append([]string{"ssh"}, s.flags(*h.Jump)...), "-W", fmt.Sprintf("%s:%d", h.Name, cmp.Or(h.Port, 22)), "--", h.Jump.Alias)
	return option{"ProxyCommand", proxy(argv)}
}

// identityAgent keeps a caller's agent out of the login, which would offer its keys first and may ask its owner.
func identityAgent(forward bool) string {
	if forward {
		return "SSH_AUTH_SOCK"
	}
	return "none"
}

// SSH is the argv of an interactive login, or of words as a command (joined by spaces for the login shell, as ssh does).
// No configuration of the user or the host is read: an alias, a RemoteCommand or a ProxyJump there would change it.
func (s System) SSH(h Host, words ...string) []string {
	return append(append([]string{"ssh"}, s.flags(h)...), append([]string{"--", h.Alias}, words...)...)
}

// SCP is the argv of a copy between the caller's files and the machine's, which are written as Alias:path.
func (s System) SCP(h Host, recursive bool, from, to string) []string {
	argv := append([]string{"scp"}, s.flags(h)...)
	if recursive {
		argv = append(argv, "-r")
	}
	return append(argv, "--", from, to)
}

func (s System) flags(h Host) []string {
	argv := []string{"-F", "none"}
	for _, o := range s.options(h) {
		argv = append(argv, "-o", o.name+"="+o.value)
	}
	return argv
}

// Options are ssh's options for a host as words for a shell, for programs that put a command line of ssh's together.
func (s System) Options(h Host) []string {
	var words []string
	for _, o := range s.options(h) {
		words = append(words, "-o", Quote(o.name+"="+o.value))
	}
	return words
}

// Config is the text of an ssh_config for hosts, by which anybody's ssh, scp, rsync or editor gets in.
func (s System) Config(hosts []Host) string {
	var b strings.Builder
	for _, h := range hosts {
		fmt.Fprintf(&b, "Host %s\n", h.Alias)
		for _, o := range s.options(h) {
			if o.name == "ProxyCommand" && h.Jump != nil && slices.ContainsFunc(hosts, func(j Host) bool { return j.Alias == h.Jump.Alias }) {
				o = option{"ProxyJump", h.Jump.Alias}
			}
			fmt.Fprintf(&b, "    %s %s\n", o.name, o.value)
		}
	}
	return b.String()
}

// proxy is a ProxyCommand: ssh expands % and has the user's shell exec the rest.
func proxy(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strings.ReplaceAll(word(w), "%", "%%")
	}
	return strings.Join(quoted, " ")
}

// word quotes s for a shell where that is needed.
func word(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=@,+") == "" {
		return s
	}
	return Quote(s)
}

// quoteOption keeps the blanks of a path together, and % from being expanded.
func quoteOption(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if strings.ContainsAny(path, " \t") {
		return `"` + path + `"`
	}
	return path
}

// Key is the file of the client's private key.
func (s System) Key() string { return s.key }
