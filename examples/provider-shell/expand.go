package main

import (
	"fmt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// folderAttrs and shellAttrs are what is stored, observed and compared.
type folderAttrs struct {
	Addresses map[string]string `json:"addresses,omitempty"` // by network
}

type shellAttrs struct {
	Memory lab.Bytes `json:"memory"`
	Power  string    `json:"power"`
	Run    string    `json:"run"`
}

// Expand implements provider.Provider: a folder and a shell for each machine. It is pure.
func (h *host) Expand(l lab.Lab, _ map[string]lab.Seed) ([]provider.Resource, error) {
	var rs []provider.Resource
	for _, m := range l.Machines {
		if err := refuse(m); err != nil {
			return nil, err
		}
		f, err := provider.Encode(folderAttrs{m.Addresses()})
		if err != nil {
			return nil, err
		}
		s, err := provider.Encode(shellAttrs{m.Memory, string(m.Power), h.run})
		if err != nil {
			return nil, err
		}
		at := provider.Addr{Provider: "shell", Kind: folder, Name: m.Name}
		rs = append(rs,
			provider.Resource{Addr: at, Lab: l.Name, Attrs: f, Machine: m.Name},
			provider.Resource{Addr: provider.Addr{Provider: "shell", Kind: shell, Name: m.Name}, Lab: l.Name, Attrs: s, Machine: m.Name, Needs: []provider.Addr{at}},
		)
	}
	return rs, nil
}

// refuse says what a shell cannot be, by the spec's own words.
func refuse(m lab.Machine) error {
	field, why := "", ""
	switch {
	case m.Adopted != "":
		field, why = "adopt", "nothing on this host can be adopted"
	case m.Power != lab.On && m.Power != lab.Off:
		field, why = "power", fmt.Sprintf("a shell is on or off, not %s", m.Power)
	case m.Nested:
		field, why = "nested", "a shell runs no virtual machines"
	case len(m.Devices) > 0:
		field, why = "devices", "a shell gets no devices"
	case m.Install != "":
		field, why = "install", "a shell is not installed"
	case len(m.Boot) > 0:
		field, why = "boot", "a shell does not boot"
	default:
		return nil
	}
	return &provider.Error{Op: "expand", Code: provider.Unsupported, Text: m.Path(field) + ": " + why}
}
