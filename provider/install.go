package provider

import (
	"context"
	"fmt"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// Installer is a provider that serves installations over the network by itself, and so hears how far they are.
type Installer interface {
	// Installations are the last that was heard of each of the lab's machines that install themselves from here, sorted by
	// machine. One that nothing was heard of since its root disk was made is absent. It changes nothing, answers at once,
	// and is asked every few seconds while somebody waits.
	Installations(ctx context.Context, l lab.Lab) ([]Installation, error)
}

// Installation is how far a machine is that installs itself from the network.
type Installation struct {
	Machine string    `json:"machine"`
	Phase   string    `json:"phase"`           // as the installer calls it: "write"
	Number  int       `json:"number"`          // of the phase, from 1
	Of      int       `json:"of"`              // how many phases there are
	Percent int       `json:"percent"`         // of the phase, 0 to 100
	Error   string    `json:"error,omitempty"` // it has ended without success; the installer may begin anew
	Log     []string  `json:"log,omitempty"`   // with Error: the last lines that the installer printed, oldest first
	Done    bool      `json:"done,omitempty"`  // the disk is written, and the machine starts from it
	When    time.Time `json:"when"`            // heard; by the clock of whoever heard it
}

// String is how far it is, in a few words.
func (i Installation) String() string {
	at := fmt.Sprintf("%d/%d (%s)", i.Number, i.Of, i.Phase)
	switch {
	case i.Error != "":
		return "installing failed at " + at
	case i.Done:
		return "installed"
	}
	return fmt.Sprintf("installing %s, %d %%", at, i.Percent)
}

// Recent is how old the news of an installer may be to tell that it is at work: it says something every 20 s and, while it
// writes, every second.
const Recent = time.Minute

// AtWork says whether an installer has said something lately, and that was neither its end nor its last phase, in which it
// restarts the machine and what it says may be lost.
func (i Installation) AtWork(now time.Time) bool {
	return !i.Done && i.Error == "" && i.Number < i.Of && now.Sub(i.When) < Recent
}

// Starter is a provider that can start a machine over from something else than its lab says.
type Starter interface {
	// StartOnce starts a machine over, or switches it on, and returns when it starts from what s says. At its next start,
	// and be it that its guest restarts it, it starts as its lab says again, and nothing of this is ever observed. Code
	// NotFound: there is no such machine; Unsupported: this machine cannot start from that, and why.
	StartOnce(ctx context.Context, l lab.Lab, s Start, p Progress) error
}

// Start is one start of a machine.
type Start struct {
	Machine string `json:"machine"`
	// From is what it starts from: lab.FromDisk, or lab.FromNetwork with ":" and a network's name.
	From lab.Boot `json:"from"`
	// Shell says that who serves the network gives it the installer's kernel with a shell on its console, and nothing is
	// installed. Only with a network that the provider serves itself.
	Shell bool `json:"shell,omitempty"`
}
