// Package cloudinit writes the three documents of the NoCloud data source. They only bootstrap: a user, keys, the
// host key, the network, and the program and document that do all the rest.
//
// Format: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html. All three are YAML by
// definition and written as JSON, which is YAML too; so no YAML library is needed, and nothing needs quoting rules.
//
// It must not know the guest document's content, a hypervisor, or how a seed reaches a machine.
package cloudinit

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"net/netip"

	"github.com/labctl-dev/labctl/lab"
)

// Input is what the documents are made of.
type Input struct {
	Instance    string // instance-id: cloud-init runs once for each value on a disk
	Hostname    string
	FQDN        string
	User        string
	Authorized  []string // lines of authorized_keys
	HostPrivate string   // ed25519 host key in OpenSSH PEM; "" leaves host keys to cloud-init
	HostPublic  string
	Interfaces  []Interface
	Files       []File
	Run         []string // argv, run once at the end of the first boot; its failure is cloud-init's
}

// Interface is the configuration of one network interface, as far as the first boot needs it. DHCPv6 it does not have:
// the client would tell the server a name of itself that it loses when the machine is installed anew, and by which it
// keeps its address from its successor.
type Interface struct {
	Name      string // unique
	Device    string // the name that the interface is given; "" leaves it the kernel's
	MAC       string
	Addresses []netip.Prefix
	Routes    []lab.Route // Network and Router mean nothing here
	DNS       []netip.Addr
	MTU       int
	DHCP      bool // IPv4 by DHCP
	UseRoutes bool // DHCP's routes are taken
	UseDNS    bool // DHCP's name servers are taken
	RA        bool // IPv6 router advertisements are listened to
	Default   bool
}

// File is written before Run is run, owned by root.
type File struct {
	Path    string
	Mode    string // octal
	Content string // as Pack made it
}

type userData struct {
	Hostname       string            `json:"hostname"`
	FQDN           string            `json:"fqdn"`
	PreserveHost   bool              `json:"preserve_hostname"`
	ManageHosts    bool              `json:"manage_etc_hosts"`
	Users          []user            `json:"users"`
	PasswordAuth   bool              `json:"ssh_pwauth"`
	DisableRoot    bool              `json:"disable_root"`
	DeleteKeys     bool              `json:"ssh_deletekeys"`
	KeyTypes       []string          `json:"ssh_genkeytypes"`
	Keys           map[string]string `json:"ssh_keys,omitempty"`
	NoFingerprints bool              `json:"no_ssh_fingerprints"`
	SSH            map[string]bool   `json:"ssh"`
	PublishKeys    map[string]bool   `json:"ssh_publish_hostkeys"`
	PackageUpdate  bool              `json:"package_update"`
	PackageUpgrade bool              `json:"package_upgrade"`
	WriteFiles     []writeFile       `json:"write_files"`
	RunCmd         [][]string        `json:"runcmd"`
}

type user struct {
	Name       string   `json:"name"`
	Gecos      string   `json:"gecos"`
	Shell      string   `json:"shell"`
	Groups     string   `json:"groups"`
	Sudo       string   `json:"sudo"`
	LockPasswd bool     `json:"lock_passwd"`
	Authorized []string `json:"ssh_authorized_keys"`
}

type writeFile struct {
	Path        string `json:"path"`
	Permissions string `json:"permissions"`
	Owner       string `json:"owner"`
	Encoding    string `json:"encoding"`
	Content     string `json:"content"`
}

// UserData is the #cloud-config document.
func UserData(in Input) ([]byte, error) {
	d := userData{
		Hostname: in.Hostname, FQDN: in.FQDN,
		Users: []user{{
			Name: in.User, Gecos: "labctl", Shell: "/bin/bash", Groups: "adm", Sudo: "ALL=(ALL) NOPASSWD:ALL",
			LockPasswd: true, Authorized: in.Authorized,
		}},
		DisableRoot: true, DeleteKeys: true, KeyTypes: []string{"ed25519"},
		// Printing keys on the console and publishing them costs seconds of a slow boot and tells nobody anything.
		NoFingerprints: true, SSH: map[string]bool{"emit_keys_to_console": false},
		PublishKeys: map[string]bool{"enabled": false},
	}
	if in.HostPrivate != "" {
		// With ssh_keys given, cloud-init makes no others.
		d.Keys = map[string]string{"ed25519_private": in.HostPrivate, "ed25519_public": in.HostPublic}
	}
	if len(in.Run) > 0 {
		d.RunCmd = [][]string{in.Run} // one command: the script's exit status is its own
	}
	for _, f := range in.Files {
		d.WriteFiles = append(d.WriteFiles, writeFile{f.Path, f.Mode, "root:root", "gz+b64", f.Content})
	}
	return document("#cloud-config\n", d)
}

// MetaData is the meta-data document.
func MetaData(in Input) ([]byte, error) {
	return document("", map[string]string{"instance-id": in.Instance, "local-hostname": in.Hostname})
}

// Pack is a file's content as it stands in user-data. It is compressed always: cloud-init reads user-data with a YAML parser in Python at every stage of a boot, and a
// long word without escapes is what that parser is quickest with.
func Pack(b []byte) (string, error) {
	var z bytes.Buffer
	w, err := gzip.NewWriterLevel(&z, gzip.DefaultCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(b); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(z.Bytes()), nil
}

func document(head string, v any) ([]byte, error) {
	b := bytes.NewBufferString(head)
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return b.Bytes(), err
}
