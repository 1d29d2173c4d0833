package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// document is a lab as CUE exports it: what decode reads in one pass.
type document struct {
	Name     string                                `json:"name"`
	Domain   string                                `json:"domain"`
	Networks map[string]networkDoc                 `json:"networks"`
	Servers  map[string]machineDoc                 `json:"servers"`
	Images   map[string]imageDoc                   `json:"images"`
	Targets  map[string]map[string]json.RawMessage `json:"targets"`
	Secrets  map[string]secretDoc                  `json:"secrets"`

	// What is refused.
	Routers map[string]any `json:"routers"`
	Pools   map[string]any `json:"pools"`
	Policy  []any          `json:"policy"`
	Checks  map[string]any `json:"checks"`
}

type networkDoc struct {
	Uplink bool   `json:"uplink"`
	CIDR   string `json:"cidr"`
	DHCP   *struct {
		From string `json:"from"`
		To   string `json:"to"`
	} `json:"dhcp"`
	MTU int `json:"mtu"`
}

type machineDoc struct {
	NICs     ordered            `json:"nics"`
	CPUs     int                `json:"cpus"`
	Memory   string             `json:"memory"`
	Disk     string             `json:"disk"`
	Disks    ordered            `json:"disks"`
	Image    string             `json:"image"`
	Arch     string             `json:"arch"`
	Firmware string             `json:"firmware"`
	Power    string             `json:"power"`
	Protect  bool               `json:"protect"`
	Ready    string             `json:"ready"`
	User     string             `json:"user"`
	Roles    []any              `json:"roles"`
	Packages []string           `json:"packages"`
	Files    map[string]fileDoc `json:"files"`
	Units    map[string]unitDoc `json:"units"`
	Commands ordered            `json:"commands"`
}

type nicDoc struct {
	IP   string `json:"ip"`
	MAC  string `json:"mac"`
	Link string `json:"link"`
}

type diskDoc struct {
	Size string `json:"size"`
}

type fileDoc struct {
	Text    *string  `json:"text"`
	Secret  *string  `json:"secret"`
	Mode    string   `json:"mode"`
	Owner   string   `json:"owner"`
	Group   string   `json:"group"`
	Restart []string `json:"restart"`
}

type unitDoc struct {
	Enabled bool `json:"enabled"`
	Running bool `json:"running"`
}

type commandDoc struct {
	Run     string `json:"run"`
	Creates string `json:"creates"`
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
	Env      *string `json:"env"`
	File     *string `json:"file"`
	Generate *int    `json:"generate"`
}

// ordered is a JSON object whose fields keep their order: that of the spec, which a guest can see.
type ordered []member

type member struct {
	name  string
	value json.RawMessage
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
