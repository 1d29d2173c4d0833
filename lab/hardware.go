package lab

import "strings"

// Boot is something that a machine may start from: FromDisk, FromNetwork, or FromNetwork with ":" and a network's name.
type Boot string

// GPUs are graphics processors of one kind, by the name that it has on the cloud that gives them.
type GPUs struct {
	Type  string `json:"type"`
	Count int    `json:"count"` // 1 to 16
}

// What a machine may start from.
const (
	FromDisk    Boot = "disk"    // the root disk
	FromNetwork Boot = "network" // what answers (PXE) on the first network that its guest sees
)

// Network is the network that b starts machine m from; false if that is the disk. The network is "" where m has none.
func (b Boot) Network(m Machine) (name string, ok bool) {
	if b == FromNetwork {
		if len(m.NICs) == 0 {
			return "", true
		}
		return m.NICs[0].Network, true
	}
	return strings.CutPrefix(string(b), string(FromNetwork)+":")
}

// Starts is what the machine starts from, in order: "disk", or "network:" and the name of the network. It is nil where
// that is the root disk alone, as of most machines.
func (m Machine) Starts() []string {
	var all []string
	for _, b := range m.Boot {
		name, network := b.Network(m)
		if network {
			b = FromNetwork + ":" + Boot(name)
		}
		all = append(all, string(b))
	}
	if len(all) == 1 && all[0] == string(FromDisk) {
		return nil
	}
	return all
}
