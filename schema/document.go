package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// document is a lab as CUE exports it: what decode reads in one pass.
type document struct {
	Name       string                                `json:"name"`
	Domain     string                                `json:"domain"`
	Networks   map[string]networkDoc                 `json:"networks"`
	Routers    map[string]routerDoc                  `json:"routers"`
	Servers    map[string]machineDoc                 `json:"servers"`
	Images     map[string]imageDoc                   `json:"images"`
	Installers map[string]installerDoc               `json:"installers"`
	Targets    map[string]map[string]json.RawMessage `json:"targets"`
	Secrets    map[string]secretDoc                  `json:"secrets"`
	Pools      map[string]poolDoc                    `json:"pools"`
	Services   map[string]names                      `json:"services"`
	Policy     entries                               `json:"policy"`
	Expect     entries                               `json:"expect"`
	Implied    *impliedDoc                           `json:"implied"`
	Checks     map[string]checkDoc                   `json:"checks"`
}

type networkDoc struct {
	Uplink   bool   `json:"uplink"`
	CIDR     string `json:"cidr"`
	CIDR6    string `json:"cidr6"`
	Assign   string `json:"assign"`
	Routed   bool   `json:"routed"`
	Isolated bool   `json:"isolated"`
	DHCP     *struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"dhcp"`
	MTU     int    `json:"mtu"`
	Adopted string `json:"adopted"`
	Netboot string `json:"netboot"`
}

type machineDoc struct {
	NICs      ordered   `json:"nics"`
	Groups    []string  `json:"groups"`
	Firewall  bool      `json:"firewall"`
	CPUs      int       `json:"cpus"`
	Memory    string    `json:"memory"`
	Disk      string    `json:"disk"`
	Disks     ordered   `json:"disks"`
	Pool      *string   `json:"pool"`
	Image     string    `json:"image"`
	Arch      string    `json:"arch"`
	Firmware  string    `json:"firmware"`
	Boot      bootDoc   `json:"boot"`
	Install   lab.Boot  `json:"install"`
	Installer string    `json:"installer"`
	Nested    bool      `json:"nested"`
	Devices   []string  `json:"devices"`
	GPUs      *lab.GPUs `json:"gpus"`
	Power     string    `json:"power"`
	Protect   bool      `json:"protect"`
	Ready     string    `json:"ready"`
	User      string    `json:"user"`
	Adopted   string    `json:"adopted"`
	External  string    `json:"external"`
	SSH       *lab.SSH  `json:"ssh"`
	partsDoc
}

// bootDoc is a list, or "pxe".
type bootDoc struct {
	list []lab.Boot
	pxe  bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (b *bootDoc) UnmarshalJSON(text []byte) error {
	if b.pxe = bytes.Equal(text, []byte(`"pxe"`)); b.pxe {
		return nil
	}
	return json.Unmarshal(text, &b.list)
}

type nicDoc struct {
	IP   string `json:"ip"`
	IP6  string `json:"ip6"`
	MAC  string `json:"mac"`
	DUID string `json:"duid"`
	Link string `json:"link"`
}

type diskDoc struct {
	Size string `json:"size"`
}

type fileDoc struct {
	Text    *string           `json:"text"`
	Secret  *string           `json:"secret"`
	From    *lab.Origin       `json:"from"`
	Fill    map[string]string `json:"fill"`
	Mode    string            `json:"mode"`
	Owner   string            `json:"owner"`
	Group   string            `json:"group"`
	Restart []string          `json:"restart"`
}

type unitDoc struct {
	Enabled bool `json:"enabled"`
	Running bool `json:"running"`
}

type sourceDoc struct {
	URL        string     `json:"url"`
	Suites     []string   `json:"suites"`
	Components []string   `json:"components"`
	Arches     []lab.Arch `json:"arches"`
	Key        struct {
		URL         *string `json:"url"`
		Text        *string `json:"text"`
		File        *string `json:"file"`
		Fingerprint string  `json:"fingerprint"`
	} `json:"key"`
}

type userDoc struct {
	System     bool     `json:"system"`
	UID        int      `json:"uid"`
	Home       string   `json:"home"`
	Shell      string   `json:"shell"`
	Groups     []string `json:"groups"`
	Password   string   `json:"password"`
	Authorized []string `json:"authorized"`
}

type dataDoc struct {
	Size    string `json:"size"`
	Owner   string `json:"owner"`
	Group   string `json:"group"`
	Mode    string `json:"mode"`
	Protect bool   `json:"protect"`
}

type commandDoc struct {
	Run      string   `json:"run"`
	Creates  string   `json:"creates"`
	Keep     string   `json:"keep"`
	OnChange []string `json:"onchange"`
}

type imageDoc struct {
	URL     string    `json:"url"`
	SHA256  string    `json:"sha256"`
	SHA512  string    `json:"sha512"`
	Build   *buildDoc `json:"build"`
	Arch    string    `json:"arch"`
	Kernel  bool      `json:"kernel"`
	MinDisk string    `json:"min_disk"`
}

type buildDoc struct {
	Distribution string   `json:"distribution"`
	Release      string   `json:"release"`
	Packages     []string `json:"packages"`
	Mirror       string   `json:"mirror"`
}

type secretDoc struct {
	Env         *string          `json:"env"`
	File        *string          `json:"file"`
	Generate    *int             `json:"generate"`
	Certificate *lab.Certificate `json:"certificate"`
	Authority   *lab.Authority   `json:"authority"`
}

type routerDoc struct {
	machineDoc
	Masquerade  json.RawMessage            `json:"masquerade"` // a bool or a list
	Masquerade6 []string                   `json:"masquerade6"`
	Publish     map[string]json.RawMessage `json:"publish"` // a string or a publishDoc
	DNS         []string                   `json:"dns"`
	DHCP        []string                   `json:"dhcp"`
}

type publishDoc struct {
	To      string `json:"to"`
	Network string `json:"network"`
	Log     bool   `json:"log"`
}

type poolDoc struct {
	Path string `json:"path"`
	Size string `json:"size"`
}

type ruleDoc struct {
	Name  string `json:"name"`
	From  names  `json:"from"`
	To    names  `json:"to"`
	Allow names  `json:"allow"`
	Log   bool   `json:"log"`
}

type expectationDoc struct {
	From    names  `json:"from"`
	Never   *names `json:"never"`
	Reaches *names `json:"reaches"`
	On      names  `json:"on"`
}

type impliedDoc struct {
	DNS   names    `json:"dns"`
	NTP   names    `json:"ntp"`
	Jump  names    `json:"jump"`
	Admin []string `json:"admin"`
}

type checkDoc struct {
	From    string            `json:"from"`
	TCP     *lab.TCPCheck     `json:"tcp"`
	HTTP    *lab.HTTPCheck    `json:"http"`
	DNS     *lab.DNSCheck     `json:"dns"`
	Command *lab.CommandCheck `json:"command"`
	Within  string            `json:"within"`
}

// names are one name or a list of them.
type names struct {
	all  []string
	list bool // it stands in the spec as a list
}

// UnmarshalJSON implements json.Unmarshaler.
func (n *names) UnmarshalJSON(text []byte) error {
	n.list = bytes.HasPrefix(text, []byte("["))
	if n.list {
		return json.Unmarshal(text, &n.all)
	}
	n.all = make([]string, 1)
	return json.Unmarshal(text, &n.all[0])
}

// path is where the i-th of the names stands, when all of them stand at path.
func (n names) path(path string, i int) string {
	if !n.list {
		return path
	}
	return path + "." + strconv.Itoa(i)
}

// entries are what stands in a list, or in a struct by name: those of a struct sorted by name.
type entries []member

// UnmarshalJSON implements json.Unmarshaler.
func (e *entries) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(text, []byte("[")) {
		if err := (*ordered)(e).UnmarshalJSON(text); err != nil {
			return err
		}
		slices.SortFunc(*e, func(a, b member) int { return strings.Compare(a.name, b.name) })
		return nil
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*e = nil
	for i, v := range all {
		*e = append(*e, member{name: strconv.Itoa(i), value: v, index: i + 1})
	}
	return nil
}

// ordered is a JSON object whose fields keep their order: that of the spec, which a guest can see.
type ordered []member

type member struct {
	name  string
	value json.RawMessage
	index int // of an entry of a list, from 1; 0 for a field
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *ordered) UnmarshalJSON(text []byte) error {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("%.20s is no object: %w", text, err)
	}
	*o = nil
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		m := member{name: fmt.Sprint(name)}
		if err := d.Decode(&m.value); err != nil {
			return err
		}
		*o = append(*o, m)
	}
	return nil
}
