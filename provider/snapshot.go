package provider

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
)

// Snapshotter keeps the disks and firmware variables of a whole lab as they were at one moment, and brings them back.
// Memory is not kept: a machine that is restored boots. A snapshot is never seen in a plan. Machines that were adopted
// are no part of it: they are not held still, kept, powered off or restored.
type Snapshotter interface {
	// Snapshots returns the lab's, oldest first, also those that are half made or that lost a part since (Complete false).
	Snapshots(ctx context.Context, l lab.Lab) ([]Snapshot, error)
	// TakeSnapshot holds every machine of the lab still at the same time, keeps what their disks hold at that moment,
	// and lets them go on, also when it fails. A machine that runs is kept as if its power had failed at that moment. Of s
	// it uses name, time and note. Code Invalid: a name that is taken, also by a snapshot that is half made, or that is no
	// name (CheckSnapshotName). NotFound: a lab none of whose machines exist.
	TakeSnapshot(ctx context.Context, l lab.Lab, s Snapshot, p Progress) error
	// RestoreSnapshot powers the lab's machines off, makes their disks and firmware variables what they were, and
	// returns; power is the next plan's business, and so is the inside of a guest: the digest that its machine had when
	// the snapshot was taken is observed again. What the snapshot does not hold (disks and machines made since) stays as
	// it is, and a Note names each (SinceSnapshot). Refused before anything is changed when the snapshot is not Complete, or when a machine or disk of it is
	// not there or is of another image: code Invalid, naming them. NotFound if there is no such snapshot. Repeating it
	// after an interruption is right.
	RestoreSnapshot(ctx context.Context, l lab.Lab, name string, p Progress) error
	// RemoveSnapshot makes the snapshot not exist, whole or half made; absent already is success.
	RemoveSnapshot(ctx context.Context, l lab.Lab, name string, p Progress) error
}

// Snapshot is a lab's disks at one moment.
type Snapshot struct {
	Name     string    `json:"name"`
	Taken    time.Time `json:"taken"`
	Note     string    `json:"note,omitempty"`     // for people
	Machines []string  `json:"machines,omitempty"` // those in it, sorted
	Size     lab.Bytes `json:"size,omitempty"`     // what it takes on disk; 0: unknown
	Complete bool      `json:"complete"`           // every disk of every machine in it is there
}

// maxSnapshotName is how long a snapshot's name may be, in bytes: it becomes part of file names and of names in disks.
const maxSnapshotName = 63

// CheckSnapshotName returns an *Error with code Invalid unless name can be a snapshot's: letters, digits, "-", "_" and
// ".", the first a letter or digit, at most 63 in all.
func CheckSnapshotName(name string) error {
	ok := name != "" && len(name) <= maxSnapshotName
	for i, c := range name {
		plain := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		ok = ok && (plain || i > 0 && strings.ContainsRune("-_.", c))
	}
	if ok {
		return nil
	}
	return &Error{Op: "name a snapshot", Code: Invalid, Text: fmt.Sprintf("%q is no name for one: letters, digits, \"-\", \"_\" and \".\", the first a letter or digit, at most %d in all", name, maxSnapshotName)}
}

// SnapshotExists is the error of taking a snapshot whose name is taken.
func SnapshotExists(name string) error {
	return &Error{Op: "take snapshot " + name, Code: Invalid, Text: "there is one of that name; remove it, or choose another name"}
}

// NoSnapshot is the error of restoring a snapshot that there is not.
func NoSnapshot(name string) error {
	return &Error{Op: "restore snapshot " + name, Code: NotFound, Text: "the lab has no snapshot of that name"}
}

// SinceSnapshot is what RestoreSnapshot says of a machine, or of a disk of one, that the snapshot does not hold; disk is ""
// for the machine.
func SinceSnapshot(machine, disk string) Step {
	if disk == "" {
		return Step{Phase: "restoring disks", Note: fmt.Sprintf("machine %s was made after the snapshot: its disks are left as they are", machine)}
	}
	return Step{Phase: "restoring disks", Note: fmt.Sprintf("disk %s/%s was made after the snapshot: left as it is", machine, disk)}
}
