package serve

import (
	"bytes"
	"embed"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/labctl-dev/labctl/install"
)

// The scripts are iPXE's (https://ipxe.org/scripting), where "exit" leaves the machine to what it starts from next; and what
// distributions' installers are told. meta-data and vendor-data are what cloud-init of Ubuntu's live server asks for beside
// user-data.
var (
	//go:embed anyone.ipxe target.ipxe unknown.ipxe distro.ipxe preseed.cfg autoinstall.yaml distro.sh
	texts embed.FS

	scripts = template.Must(template.Must(template.New("").Funcs(template.FuncMap{"inc": func(i int) int { return i + 1 }}).
		ParseFS(texts, "*")).Parse(`{{define "meta-data"}}instance-id: install-{{.Target.Machine}}
{{end}}{{define "vendor-data"}}{{end}}`))
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
	say(w, "anyone.ipxe", boot{Server: base(r)})
}

func (s *Server) script(w http.ResponseWriter, r *http.Request) {
	mac := strings.ToLower(strings.TrimSuffix(r.PathValue("script"), ".ipxe"))
	if _, err := net.ParseMAC(mac); err != nil {
		http.NotFound(w, r)
		return
	}
	t, ok := s.target(mac)
	if !ok {
		say(w, "unknown.ipxe", boot{Server: base(r), MAC: mac})
		return
	}
	b := boot{Server: base(r), MAC: mac, Target: t}
	cmdline, err := os.ReadFile(filepath.Join(s.dir, "boot", t.Folder(), "cmdline"))
	if err != nil {
		missing(w, "boot/"+t.Folder()+"/cmdline", err)
		return
	}
	b.Cmdline = strings.TrimSpace(string(cmdline))
	template := "target.ipxe"
	if t.Installer != nil {
		template = "distro.ipxe"
	}
	b.Shell = s.starts(t)
	say(w, template, b)
}

// crashed is how recent the last report of an installer is that has ended without a word when its machine asks for a script
// again: a kernel that panics restarts after 30 s. Later than that, somebody else may have restarted the machine.
const crashed = 90 * time.Second

// starts notes that a machine is about to start from here, and says whether it gets a shell.
func (s *Server) starts(t Target) (shell bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shells[t.MAC] {
		delete(s.shells, t.MAC)
		_ = keep(s.file+shellsEnd, s.shells) // at worst it gets another shell: nothing is lost by that
		return true
	}
	now, of := time.Now(), t.phases()
	switch h, ok := s.heard[t.MAC]; {
	case !ok || h.Done || h.Error != "" || now.Sub(h.When) >= crashed:
		s.heard[t.MAC] = Status{MAC: t.MAC, Report: install.Report{Machine: t.Machine, Phase: install.Boot, Of: of}, When: now}
	default: // When stays: it is the installer of then that has failed, whatever was made of the machine since
		h.Error = "its installer has ended without a word, and the machine starts from the network again: the console may show why"
		s.heard[t.MAC] = h
	}
	s.save()
	return false
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
