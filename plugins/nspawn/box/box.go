// Package box is the process that a machine is on the host: it has the machine's network namespace, puts its root
// together where nobody else sees it, attaches its disks, has its console, and runs systemd-nspawn until the machine is
// off. What it made goes when it ends, however that is.
//
// It must not know labs, networks or seeds: a folder and its Plan is all it is given.
package box

import (
	"encoding/json"
	"os"
	"path/filepath"
)

// Plan is plan.json in the machine's folder: how the machine was started.
type Plan struct {
	Name   string   `json:"name"`  // the host name to begin with
	Lower  string   `json:"lower"` // the image's tree, which stays as it is
	Root   string   `json:"root"`  // folder with "upper" and "work": the machine's own part
	Seed   string   `json:"seed"`  // folder of cloud-init's documents, or ""
	Disks  []Disk   `json:"disks,omitempty"`
	Groups []string `json:"groups,omitempty"` // folders of control groups, which have been made
	// Marks are the caller's own: what it wants to know of a running machine.
	Marks json.RawMessage `json:"marks,omitempty"`
}

// Disk is a file that is a block device in the machine.
type Disk struct {
	File   string `json:"file"`
	Device string `json:"device"` // path inside
}

// The files of a machine's folder.
const (
	planFile    = "plan.json"
	ConsoleFile = "console.log"  // what the console has printed since the start
	LogFile     = "nspawn.log"   // what systemd-nspawn and this process have to say
	SocketFile  = "console.sock" // the console, both ways, one client at a time
	mountFolder = "root"
)

// Save writes the plan of the machine in dir.
func (p Plan) Save(dir string) error {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, planFile), append(b, '\n'), 0o600)
}

// Load reads it.
func Load(dir string) (Plan, error) {
	var p Plan
	b, err := os.ReadFile(filepath.Join(dir, planFile))
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	return p, err
}

// Ready is what the process prints when it waits for Go.
const Ready = "ready"

// Go is the line by which the caller lets a machine start, when its networks are there. Without it, it never does.
const Go = "go\n"

// Taken is what a client of the console gets that comes while there is another; Free what the others get.
const (
	Taken = 'n'
	Free  = 'y'
)
