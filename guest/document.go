package guest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labctl-dev/labctl/guest/checks"
	"github.com/labctl-dev/labctl/lab"
)

// DocumentVersion is the version of Document that this labctl writes and that its converging program reads. It grows when
// a part means something else than before. A new part is no reason: the program that knows it is sent with the document, and
// machines that have nothing of it stay as they are.
const DocumentVersion = 2

// Account is labctl's own user inside every machine. cloud-init makes it at first boot and nothing renames it; so
// labctl can still get in when the spec asks for another administrator (lab.Guest.User), whom the program makes.
const Account = "lab"

// Where the pieces live inside a machine.
const (
	DocumentPath = "/etc/labctl/guest.json"           // the Document, mode 0600: it holds secrets
	ProgramPath  = "/usr/local/lib/labctl/converge"   // the program that makes it true
	ReportPath   = "/run/labctl/report.json"          // a Report of the last run since power-on
	LastPath     = "/var/lib/labctl/last.json"        // the Report of the last run that ended, kept over reboots
	outputLog    = "/var/log/cloud-init-output.log"   // what cloud-init's modules printed
	resultPath   = "/run/cloud-init/result.json"      // exists when cloud-init is done
	statusPath   = "/run/cloud-init/status.json"      // which stage cloud-init is in
	disabledPath = "/run/cloud-init/disabled"         // exists when cloud-init decided not to run
	bootRun      = "boot"                             // Report.Run of the run that cloud-init started
	seenPath     = "/run/labctl/boot-report-accepted" // exists once Converge took a run's report as its own, or started one
)

// Document is all that should hold inside one machine, as the converging program reads it. Its fields stand in the
// order in which they are made true. Its JSON is the file DocumentPath; unknown versions are refused.
type Document struct {
	Version  int    `json:"version"`
	Lab      string `json:"lab"`
	Machine  string `json:"machine"`
	Digest   string `json:"digest"` // lab.Seed.Digest
	Hostname string `json:"hostname"`
	FQDN     string `json:"fqdn"`
	User     User   `json:"user"`
	// Hosts is the lab's block of /etc/hosts. Names that several addresses carry stand first with the address that
	// this machine can reach without a router.
	Hosts    []Host        `json:"hosts"`
	Network  []Interface   `json:"network"`
	Sysctls  []Sysctl      `json:"sysctls,omitempty"`
	Sources  []lab.Source  `json:"sources,omitempty"`
	Data     []lab.Data    `json:"data,omitempty"`
	Packages []string      `json:"packages"`
	Users    []Login       `json:"users,omitempty"`
	Firewall *Firewall     `json:"firewall,omitempty"` // nil where it has none
	Files    []lab.File    `json:"files"`              // Text holds the values of Secret and Fill
	Units    []lab.Unit    `json:"units"`
	Commands []lab.Command `json:"commands"`
	Waits    []Part        `json:"waits,omitempty"` // what of units and commands comes after the rest, in this order
}

// Part is a lab.Wait as the program reads it.
type Part struct {
	Role     string    `json:"role"`
	For      []Awaited `json:"for,omitempty"`
	Units    []string  `json:"units,omitempty"`
	Commands []string  `json:"commands,omitempty"`
}

// Awaited is something that must hold on another machine.
type Awaited struct {
	Name string `json:"name"`
	checks.Question
}

// User is the administrator people log in as; it may be Account.
type User struct {
	Name       string   `json:"name"`
	Authorized []string `json:"authorized_keys"` // whole lines of authorized_keys
}

// Login is an account, with the value of its password.
type Login struct {
	lab.Account
	Value string `json:"value,omitempty"`
}

// Host is a line of /etc/hosts.
type Host struct {
	Addr  netip.Addr `json:"addr"`
	Names []string   `json:"names"` // the full name first
}

// Interface is the configuration of one network interface, found by its MAC.
type Interface struct {
	Name      string         `json:"name"`             // the network's name
	Device    string         `json:"device,omitempty"` // the name that the interface is given; "" leaves it the kernel's
	MAC       string         `json:"mac"`
	Addresses []netip.Prefix `json:"addresses"`        // that are written into the machine
	Leased    []netip.Addr   `json:"leased,omitempty"` // that a router of the lab gives it, known beforehand
	Routes    []lab.Route    `json:"routes"`           // that are written into the machine
	Learned   []lab.Route    `json:"learned,omitempty"`
	DNS       []netip.Addr   `json:"dns"`
	MTU       int            `json:"mtu"`
	DHCP      bool           `json:"dhcp"`       // IPv4 by DHCP
	UseRoutes bool           `json:"use_routes"` // DHCP's routes are taken
	UseDNS    bool           `json:"use_dns"`    // DHCP's name servers are taken
	RA        *RA            `json:"ra,omitempty"`
	// Default says that the default route leads over it, by DHCP or as written. At most one of a machine's interfaces
	// has it: the boot waits for that one.
	Default bool `json:"default"`
}

// RA is what is taken from IPv6 router advertisements; an Interface without it does not listen to them.
type RA struct {
	Address bool `json:"address"` // an address made of the advertised prefix and the MAC
	Gateway bool `json:"gateway"` // the default route
	DHCP    bool `json:"dhcp"`    // an address by DHCPv6
}

// digest is lab.Seed.Digest: "sha256:<hex>" of the document without keys, secrets' values and the digest itself, and the
// editions of certificates. The name of a secret that a file refers to counts.
func (d Document) digest(certificates map[string]lab.Secret) (string, error) {
	d.Digest = ""
	d.User.Authorized = nil
	d.Files = slices.Clone(d.Files)
	for i := range d.Files {
		if d.Files[i].Secret != "" {
			d.Files[i].Text = ""
		}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("cannot encode the guest document of %s: %w", d.Machine, err)
	}
	sum := sha256.Sum256(b)
	text := "sha256:" + hex.EncodeToString(sum[:])
	for _, name := range slices.Sorted(maps.Keys(certificates)) {
		text += fmt.Sprintf("%s%s:%d", editionMark, name, certificates[name].Edition)
	}
	return text, nil
}

const editionMark = "+"

// SplitDigest parts a lab.Seed.Digest into what the spec makes of it, and the editions of certificates.
func SplitDigest(digest string) (spec, editions string) {
	i := strings.Index(digest, editionMark)
	if i < 0 {
		return digest, ""
	}
	return digest[:i], digest[i:]
}

// resolve puts secrets' values in their files. where is the machine's place in the spec.
func (d *Document) resolve(where string, secrets map[string]string) error {
	usable := func(what, name string) error {
		switch v, ok := secrets[name]; {
		case !ok:
			return fmt.Errorf("%s: %s: secret %q has no value", where, what, name)
		case !utf8.ValidString(v):
			return fmt.Errorf("%s: %s: secret %q is not UTF-8 text", where, what, name)
		}
		return nil
	}
	for i := range d.Users {
		u := &d.Users[i]
		if u.Password == "" {
			continue
		}
		if err := usable("user "+u.Name, u.Password); err != nil {
			return err
		}
		if u.Value = strings.TrimRight(secrets[u.Password], "\r\n"); strings.ContainsAny(u.Value, "\r\n") || u.Value == "" {
			return fmt.Errorf("%s: user %s: secret %q is not one line, so it is no password", where, u.Name, u.Password)
		}
	}
	for i := range d.Files {
		f := &d.Files[i]
		for _, ref := range f.Secrets() {
			if err := usable("file "+f.Path, string(ref)); err != nil {
				return err
			}
		}
		if f.Secret != "" {
			f.Text = secrets[f.Secret]
			continue
		}
		var words []string
		for _, word := range slices.Backward(slices.Sorted(maps.Keys(f.Fill))) { // the longer of "@A" and "@A2" first
			words = append(words, word, secrets[f.Fill[word]])
		}
		f.Text = strings.NewReplacer(words...).Replace(f.Text) // in one pass: a value is not searched
	}
	return nil
}

func (d Document) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(d); err != nil {
		return nil, fmt.Errorf("cannot encode the guest document of %s: %w", d.Machine, err)
	}
	return b.Bytes(), nil
}
