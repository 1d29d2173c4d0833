// Package serve is the other end of an installation: what a machine that starts from the network asks for, over HTTP. It
// gives a boot script, kernel and initrd of the installer, the machine's order, its seed and its image, and keeps what
// the installer reports.
//
// It must not know what is in a lab beside those machines, which hypervisor makes the machines, nor how they are told its address (DHCP). It gives
// what is in a folder, and reads no more of it than it is asked for:
//
//	boot/ARCH/kernel, initrd, cmdline    the installer's, by architecture; of a distribution's, by Target.Folder, with its
//	                                     medium, where it has one
//	boot/ARCH/ipxe.efi                   iPXE, where firmware has to be given one
//	images/IMAGE/disk.zst, image.json    an image, and what it is (Image)
//	seeds/MACHINE                        a machine's seed: a NoCloud image
//
// What it answers:
//
//	GET  /boot.ipxe           the script for any machine, which asks for its own
//	GET  /boot/MAC.ipxe       the script for one; an unknown machine says so on its screen
//	GET  /kernel/ARCH         and /initrd/ARCH
//	GET  /ipxe/ARCH.efi
//	GET  /target/MAC/order    install.Order
//	GET  /target/MAC/seed     and its files one by one: /seed/user-data
//	GET  /target/MAC/...      what a distribution's installer is told: preseed.cfg, or user-data, meta-data, vendor-data; and script,
//	                          which it runs
//	GET  /medium/FOLDER.iso   of a distribution's installer
//	POST /target/MAC/report   install.Report
//	GET  /image/IMAGE         in ranges, too
//	GET  /status              []Status
package serve

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/install"
	"github.com/labctl-dev/labctl/lab"
)

// Target is a machine that installs itself from here.
type Target struct {
	MAC     string `json:"mac"` // of the interface that it starts from: aa:bb:cc:dd:ee:ff, lower case
	Machine string `json:"machine"`
	Arch    string `json:"arch"`             // "amd64", "arm64"
	Image   string `json:"image,omitempty"`  // name of a folder in images
	Serial  string `json:"serial,omitempty"` // of the disk that is written; "" if the machine has one alone
	// Installer is the distribution's own that installs it; nil is labctl's, which writes Image. UEFI says how the machine
	// starts, which such an installer has to know.
	Installer *lab.Installer `json:"installer,omitempty"`
	UEFI      bool           `json:"uefi,omitempty"`
}

// Folder is the name in boot of what the machine starts to be installed.
func (t Target) Folder() string { return t.Installer.Folder(lab.Arch(t.Arch)) }

// Status is the last that was heard of a machine.
type Status struct {
	MAC string `json:"mac"`
	install.Report
	When time.Time `json:"when"`
}

// Server is an http.Handler. It is safe for concurrent use.
type Server struct {
	dir, file string
	mux       *http.ServeMux

	mu      sync.Mutex
	targets map[string]Target // by MAC
	heard   map[string]Status // by MAC
	shells  map[string]bool   // by MAC: who gets a shell the next time instead of an installation
	sums    map[string]sum    // by path
}

// New gives what is in dir. What machines report, and who gets a shell, is kept in the file reports and one beside it, so
// that a server that comes after it knows. A file that cannot be read counts as none.
func New(dir, reports string) *Server {
	s := &Server{dir: dir, file: reports, mux: http.NewServeMux(), targets: map[string]Target{}, heard: load[Status](reports), shells: load[bool](reports + shellsEnd), sums: map[string]sum{}}
	s.mux.HandleFunc("GET /boot.ipxe", s.anyone)
	s.mux.HandleFunc("GET /boot/{script}", s.script)
	s.mux.HandleFunc("GET /kernel/{arch}", s.part("kernel"))
	s.mux.HandleFunc("GET /initrd/{arch}", s.part("initrd"))
	s.mux.HandleFunc("GET /ipxe/{program}", s.ipxe)
	s.mux.HandleFunc("GET /target/{mac}/order", s.order)
	s.mux.HandleFunc("GET /target/{mac}/seed", s.seed)
	s.mux.HandleFunc("GET /target/{mac}/seed/{file}", s.seedFile)
	s.mux.HandleFunc("GET /target/{mac}/preseed.cfg", s.distro(lab.Preseed, "preseed.cfg"))
	s.mux.HandleFunc("GET /target/{mac}/user-data", s.distro(lab.Autoinstall, "autoinstall.yaml"))
	s.mux.HandleFunc("GET /target/{mac}/meta-data", s.distro(lab.Autoinstall, "meta-data"))
	s.mux.HandleFunc("GET /target/{mac}/vendor-data", s.distro(lab.Autoinstall, "vendor-data"))
	s.mux.HandleFunc("GET /target/{mac}/script", s.distro("", "distro.sh"))
	s.mux.HandleFunc("GET /medium/{iso}", s.medium)
	s.mux.HandleFunc("POST /target/{mac}/report", s.report)
	s.mux.HandleFunc("GET /image/{image}", s.image)
	s.mux.HandleFunc("GET /status", s.status)
	return s
}

// Set says who is installed from now on. What others reported is forgotten.
func (s *Server) Set(all []Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.targets = map[string]Target{}
	for _, t := range all {
		s.targets[t.MAC] = t
	}
	for mac := range s.heard {
		if _, known := s.targets[mac]; !known {
			delete(s.heard, mac)
		}
	}
	s.save()
}

// Shell has the machine with that MAC get a shell on its console at its next start from here, instead of an installation. It
// is an error if that could not be kept: forgotten, the machine would be installed.
func (s *Server) Shell(mac string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.targets[mac].Installer; i != nil {
		return fmt.Errorf("it is installed by the installer %s, which has no shell that installs nothing", i.Name)
	}
	s.shells[mac] = true
	return keep(s.file+shellsEnd, s.shells)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// target is the machine that a request is about.
func (s *Server) target(mac string) (Target, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.targets[strings.ToLower(mac)]
	return t, ok
}

// part gives a file of the installer's.
func (s *Server) part(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.give(w, r, "boot/"+r.PathValue("arch")+"/"+name)
	}
}

// ipxe gives the program by a name that ends as firmware wants it.
func (s *Server) ipxe(w http.ResponseWriter, r *http.Request) {
	s.give(w, r, "boot/"+strings.TrimSuffix(r.PathValue("program"), ".efi")+"/ipxe.efi")
}

func (s *Server) seed(w http.ResponseWriter, r *http.Request) {
	t, ok := s.target(r.PathValue("mac"))
	if !ok {
		unknown(w, r)
		return
	}
	s.give(w, r, "seeds/"+t.Machine)
}

func (s *Server) image(w http.ResponseWriter, r *http.Request) {
	s.give(w, r, "images/"+r.PathValue("image")+"/"+diskFile)
}

func (s *Server) medium(w http.ResponseWriter, r *http.Request) {
	s.give(w, r, "boot/"+strings.TrimSuffix(r.PathValue("iso"), ".iso")+"/medium")
}

func unknown(w http.ResponseWriter, r *http.Request) {
	http.Error(w, "no machine is installed here that has MAC "+r.PathValue("mac"), http.StatusNotFound)
}
