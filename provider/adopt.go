package provider

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
)

// Adopter is a provider whose host may have networks and machines that others made, which a lab can take in as they are
// (lab.Network.Adopted, lab.Machine.Adopted). Its Expand says of them only what can be managed from the outside, its
// Create marks them, and its Delete takes the mark away.
type Adopter interface {
	// Adoptable lists the networks and machines on the host that bear nobody's mark, networks first, each sorted by name.
	// It changes nothing.
	Adoptable(ctx context.Context, l lab.Lab) ([]Candidate, error)
}

// Candidate is a network or a machine on the host that a lab could adopt, in the lab's terms: exactly one of Network
// and Machine is set. Taken into the lab as it is, it needs no change. Its Name is the host's, and not yet one that a
// lab allows.
type Candidate struct {
	Network *lab.Network `json:"network,omitempty"`
	Machine *lab.Machine `json:"machine,omitempty"`
	// On is, for each of Machine.NICs, the network's name on the host. The NIC's own Network is set only where that is
	// one of the lab's networks already.
	On []string `json:"on,omitempty"`
	// Notes say, each in a sentence, what of it a lab cannot express and labctl therefore leaves alone.
	Notes []string `json:"notes,omitempty"`
	// Refused says why it cannot be adopted now; "" if it can.
	Refused string `json:"refused,omitempty"`
}

// Host is the candidate's name on the host.
func (c Candidate) Host() string {
	if c.Network != nil {
		return c.Network.Adopted
	}
	return c.Machine.Adopted
}
