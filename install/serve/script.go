package serve

import (
	"bytes"
	_ "embed"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// The scripts are iPXE's (https://ipxe.org/scripting). "exit" leaves the machine to what it starts from next.
var (
	//go:embed anyone.ipxe
	anyoneText string
	//go:embed target.ipxe
	targetText string
	//go:embed unknown.ipxe
	unknownText string

	scripts = template.Must(template.Must(template.Must(template.New("anyone").Parse(anyoneText)).New("target").Parse(targetText)).New("unknown").Parse(unknownText))
)

// boot is what a script is made of.
type boot struct {
	Server  string // URL
	MAC     string
	Target  Target
	Cmdline string // the installer's, beside what says whom to ask
	Shell   bool
}

// anyone is the script for a machine that has only found the way here: iPXE knows its MAC.
func (s *Server) anyone(w http.ResponseWriter, r *http.Request) {
	say(w, "anyone", boot{Server: base(r)})
}

func (s *Server) script(w http.ResponseWriter, r *http.Request) {
	mac := strings.ToLower(strings.TrimSuffix(r.PathValue("script"), ".ipxe"))
	if _, err := net.ParseMAC(mac); err != nil {
		http.NotFound(w, r)
		return
	}
	t, ok := s.target(mac)
	if !ok {
		say(w, "unknown", boot{Server: base(r), MAC: mac})
		return
	}
	b := boot{Server: base(r), MAC: mac, Target: t}
	cmdline, err := os.ReadFile(filepath.Join(s.dir, "boot", t.Arch, "cmdline"))
	if err != nil {
		missing(w, "boot/"+t.Arch+"/cmdline", err)
		return
	}
	b.Cmdline = strings.TrimSpace(string(cmdline))
	s.mu.Lock()
	b.Shell = s.shells[mac]
	delete(s.shells, mac)
	s.mu.Unlock()
	say(w, "target", b)
}

func say(w http.ResponseWriter, script string, b boot) {
	var text bytes.Buffer
	if err := scripts.ExecuteTemplate(&text, script, b); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(text.Bytes())
}

// base is the URL by which this server was found, by address: an installer knows no names.
func base(r *http.Request) string {
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host, port = strings.Trim(r.Host, "[]"), ""
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return "http://" + r.Host
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return "http://" + r.Host
	}
	host, lport, err := net.SplitHostPort(local.String())
	if err != nil {
		return "http://" + r.Host
	}
	if port = lport; port == "80" {
		if strings.Contains(host, ":") {
			return "http://[" + host + "]"
		}
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, port)
}
