package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// machine is what it believes of itself.
type machine struct {
	seed *seed

	mu      sync.Mutex
	doc     document
	text    []byte
	program []byte // that was sent
	report  map[string]any
	fresh   bool // nobody took the first boot's report yet
}

// serve lets in who has one of the seed's keys.
func (m *machine) serve() error {
	key, err := ssh.ParsePrivateKey([]byte(m.seed.hostKey))
	if err != nil {
		return err
	}
	allowed := map[string]bool{}
	for _, line := range m.seed.authorized {
		if k, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err == nil {
			allowed[string(k.Marshal())] = true
		}
	}
	c := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if !allowed[string(k.Marshal())] {
			return nil, fmt.Errorf("an unknown key")
		}
		return nil, nil
	}}
	c.AddHostKey(key)
	l, err := net.Listen("tcp", ":22")
	if err != nil {
		return err
	}
	fmt.Println(m.doc.Hostname, "login:")
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go m.session(conn, c)
	}
}

func (m *machine) session(conn net.Conn, c *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, c)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for ch := range channels {
		if ch.ChannelType() != "session" {
			_ = ch.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := ch.Accept()
		if err != nil {
			return
		}
		go func() {
			for r := range requests {
				var payload struct{ Command string }
				ok := r.Type == "exec" && ssh.Unmarshal(r.Payload, &payload) == nil
				if r.WantReply {
					_ = r.Reply(ok || r.Type == "env" || r.Type == "pty-req", nil)
				}
				if ok {
					go func() {
						status := m.run(payload.Command, channel)
						_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
						channel.Close()
					}()
				}
			}
		}()
	}
}

// run runs a command: labctl's own by what they are known by, and a few words of a user's.
func (m *machine) run(cmd string, io ssh.Channel) (status uint32) {
	switch {
	case strings.Contains(cmd, "==disabled"):
		fmt.Fprint(io, m.state())
		return 0
	case strings.Contains(cmd, "take() {"):
		return m.converge(cmd, io)
	case strings.Contains(cmd, "boot-report-accepted"):
		m.mu.Lock()
		m.fresh = false
		m.mu.Unlock()
		return 0
	case strings.Contains(cmd, `"--check"`):
		b, _ := json.Marshal(m.doc.report("check"))
		fmt.Fprintln(io, string(b))
		return 0
	}
	words := strings.Fields(strings.ReplaceAll(cmd, "'", ""))
	switch {
	case len(words) > 1 && words[0] == "cat":
		for _, file := range words[1:] {
			b, err := os.ReadFile(file)
			if err != nil {
				fmt.Fprintln(io.Stderr(), err)
				return 1
			}
			_, _ = io.Write(b)
		}
	case len(words) == 1 && words[0] == "hostname":
		name, _ := os.Hostname()
		fmt.Fprintln(io, name)
	case len(words) == 3 && words[0] == "connect": // ADDRESS PORT
		c, err := net.DialTimeout("tcp", net.JoinHostPort(words[1], words[2]), 10*time.Second)
		if err != nil {
			fmt.Fprintln(io.Stderr(), err)
			return 1
		}
		c.Close()
	case len(words) == 1 && words[0] == "true":
	default:
		fmt.Fprintf(io.Stderr(), "%q: command not found\n", cmd)
		return 127
	}
	return 0
}

// state is the answer to labctl's look into a machine (guest/wait.go).
func (m *machine) state() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	report, _ := json.Marshal(m.report)
	fresh := ""
	if m.fresh {
		fresh = "yes"
	}
	hash := func(b []byte) string { h := sha256.Sum256(b); return hex.EncodeToString(h[:]) + "  -" }
	return fmt.Sprintf("\n==disabled\n\n==result\n{\"v1\":{\"datasource\":\"NoCloud\",\"errors\":[]}}\n==status\n\n==report\n%s\n==alive\n\n==last\n%s\n==fresh\n%s\n==document\n%s\n==program\n%s\n",
		report, report, fresh, hash(m.text), hash(m.program))
}

var sizes = regexp.MustCompile(`(?s)take (\d+) /etc/labctl.*if \[ (\d+) -gt 0.*--run (\w+)`)

// converge takes a document, and perhaps a program, as guest/converge.go sends them.
func (m *machine) converge(cmd string, in io.Reader) uint32 {
	f := sizes.FindStringSubmatch(cmd)
	if f == nil {
		return 2
	}
	read := func(n string) []byte {
		size, _ := strconv.Atoi(n)
		b := make([]byte, size)
		if _, err := io.ReadFull(in, b); err != nil {
			return nil
		}
		return b
	}
	text, program := read(f[1]), read(f[2])
	var d document
	if json.Unmarshal(text, &d) != nil {
		return 1
	}
	m.mu.Lock()
	m.doc, m.text, m.report, m.fresh = d, text, d.report(f[3]), false
	if len(program) > 0 {
		m.program = program
	}
	m.mu.Unlock()
	m.write()
	return 0
}

// write puts the document's files where they belong.
func (m *machine) write() {
	for _, f := range m.doc.Files {
		_ = os.MkdirAll(filepath.Dir(f.Path), 0o755)
		_ = os.WriteFile(f.Path, []byte(f.Text), 0o644)
	}
}
