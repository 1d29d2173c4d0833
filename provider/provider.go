// Package provider is the contract between labctl and a hypervisor: the vocabulary both sides speak and the promises
// a provider makes. providertest checks the promises; rpc carries them between processes.
//
// It must not know any hypervisor, nor how a plan is computed or executed, nor how the contract is carried.
//
// # The law of providers
//
// Apply, observe, plan again: no changes. For every kind, every attribute, and after a crash at any point in between.
package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// Protocol is the version of this contract. A plugin of another version is refused before it is asked anything.
const Protocol = 1

// Plugin is a hypervisor as a value: what it is, and how to get a Provider for one target.
type Plugin struct {
	Description Description
	// New checks the options and returns a provider that is ready to be asked; nothing is ever half configured.
	New func(Options) (Provider, error)
}

// Options say for whom a provider works.
type Options struct {
	Home   string         `json:"home"`             // $LABCTL_HOME, an absolute path
	Target string         `json:"target"`           // the target's name
	Values map[string]any `json:"values,omitempty"` // the target's own options, already checked by Description.Options
}

// Description is all that can be known of a provider without asking it. Its methods are in kind.go.
type Description struct {
	Name    string `json:"name"`
	Version string `json:"version"` // empty: Built's
	// Built is what the plugin's program was built from; rpc.Serve fills it in.
	Built Built  `json:"built,omitzero"`
	Kinds []Kind `json:"kinds"` // in creation order
	// Abilities are the optional interfaces that New's Provider implements. They are asked of the description, not of
	// the value: one behind a wire has methods for all, and those that are not announced answer Unsupported.
	Abilities []Ability `json:"abilities,omitempty"`
	Options   string    `json:"options,omitempty"` // CUE text of a struct that checks a target's options
}

// Provider makes one target's world match resources. Implementations are safe for concurrent use: the engine calls
// Create, Update and Delete in parallel for resources that do not need each other.
type Provider interface {
	// Expand says which resources the lab is made of here. It is pure: no I/O, no clock, the same answer for the same
	// lab, every name and address settled. What this hypervisor cannot honour is an *Error with code Unsupported that
	// names it by the spec's own words ("servers.web.firmware") and says why.
	// seeds has an entry for each machine, with Digest set; documents may hold references instead of secrets.
	Expand(l lab.Lab, seeds map[string]lab.Seed) ([]Resource, error)

	// Observe returns everything that this provider owns for the lab's name and target, in one bulk pass, in the same
	// normal form as Expand, sorted by address; also what is half made or no longer in the spec. It changes nothing.
	Observe(ctx context.Context, l lab.Lab) ([]Observed, error)

	// Create makes r exist and returns when it does. Repeating it is no error. A name that is taken by an object
	// without our mark is an *Error with code Foreign. What is to be adopted gets the mark and is else left as it is: if
	// it is not there, that is code NotFound, and if it has somebody else's mark, Foreign.
	Create(ctx context.Context, r Resource, p Progress) error

	// Update makes o into r in place, whatever impact the description names short of reinstall.
	Update(ctx context.Context, o Observed, r Resource, p Progress) error

	// Delete makes o not exist: gone when it returns, and absent already is success. What it holds is kept aside, where
	// nothing of the lab is, if o is of a kind with Data and its attribute "protect" is true: a Step with a Note says
	// where, and how much it is. The caller has seen to it that somebody wants this. What is adopted loses the mark, and
	// what labctl has plugged into it, and stays.
	Delete(ctx context.Context, o Observed, p Progress) error
}

// Addr is the name of a resource. It prints as "libvirt.network/perimeter".
type Addr struct {
	Provider string `json:"provider"`
	Kind     string `json:"kind"`
	Name     string `json:"name"` // may hold slashes: "web/data"
}

func (a Addr) String() string { return a.Provider + "." + a.Kind + "/" + a.Name }

// Compare orders addresses by kind's name, then name; the order of kinds by creation is Description.Rank.
func (a Addr) Compare(b Addr) int { return strings.Compare(a.String(), b.String()) }

// ParseAddr reads what Addr.String writes.
func ParseAddr(s string) (Addr, error) {
	head, name, ok := strings.Cut(s, "/")
	p, kind, ok2 := strings.Cut(head, ".")
	if !ok || !ok2 || p == "" || kind == "" || name == "" {
		return Addr{}, fmt.Errorf("%q is no address such as \"qemu.machine/web\"", s)
	}
	return Addr{p, kind, name}, nil
}

// Resource is a thing that should exist.
type Resource struct {
	Addr  Addr   `json:"addr"`
	Lab   string `json:"lab,omitempty"` // the owner's name, which becomes its mark; "" for what labs share
	Attrs Attrs  `json:"attrs"`
	Needs []Addr `json:"needs,omitempty"` // must exist first, and outlive it
	// Machine is the lab machine that the resource is, or is a part of; "" for what machines share.
	Machine string `json:"machine,omitempty"`
	// Adopted says that others made it and that it stays theirs: see Create and Delete.
	Adopted bool `json:"adopted,omitempty"`
	// Seed is filled in by the engine, secrets resolved, on the way to Create and Update of a kind that is Seeded;
	// Expand leaves it nil. It is never compared, shown, logged or saved.
	Seed *lab.Seed `json:"seed,omitempty"`
}

// Observed is a thing that does exist and that we own.
type Observed struct {
	Addr    Addr   `json:"addr"`
	Lab     string `json:"lab,omitempty"` // as in Resource
	Attrs   Attrs  `json:"attrs"`
	Needs   []Addr `json:"needs,omitempty"`   // what it holds on to, as far as can be seen; deleted before them
	Machine string `json:"machine,omitempty"` // as in Resource
	// Outputs are facts worth showing that nobody can ask for: a process id, an address given by DHCP. Reported,
	// never compared.
	Outputs map[string]string `json:"outputs,omitempty"`
	// Shared things are used by others too: no plan deletes them.
	Shared bool `json:"shared,omitempty"`
	// Adopted things were there before the lab: as in Resource.
	Adopted bool `json:"adopted,omitempty"`
}

// Attrs are a thing's attributes in normal form: the values that encoding/json makes of them (bool, float64, string,
// []any, map[string]any; no nil), so that equal attributes are deeply equal on both sides of a wire.
type Attrs map[string]any

// Encode makes Attrs of a struct with JSON tags; fields that are empty and marked omitempty are absent.
func Encode(v any) (Attrs, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	var a Attrs
	if err := json.Unmarshal(b, &a); err != nil {
		return nil, fmt.Errorf("attributes: %w", err)
	}
	return a, nil
}

// Decode is the reverse of Encode.
func (a Attrs) Decode(v any) error {
	b, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("attributes: %w", err)
	}
	return nil
}

// Disk splits the name of a machine's disk, which is "<machine>/<disk>".
func (a Addr) Disk() (machine, disk string, err error) {
	machine, disk, ok := strings.Cut(a.Name, "/")
	if !ok || machine == "" || disk == "" || strings.Contains(disk, "/") {
		return "", "", &Error{Addr: a, Code: Internal, Text: "a disk's name is <machine>/<disk>"}
	}
	return machine, disk, nil
}

// Step is one sign of life from Create, Update or Delete.
type Step struct {
	Phase string `json:"phase"`           // in the present: "downloading", "booting"
	Done  int64  `json:"done,omitempty"`  // bytes so far, when Total is known
	Total int64  `json:"total,omitempty"` // bytes in all; 0 if unknown
	// Share says that Done and Total are no bytes: only how much of the whole is done.
	Share bool `json:"share,omitempty"`
	// Note is what people must know afterwards, too: where the data of something deleted was put, and how much it is. A
	// report repeats it.
	Note string `json:"note,omitempty"`
}

// Progress receives steps; it returns at once and may be called from any goroutine until the method that got it
// returns. It is never nil.
type Progress func(Step)

// Silent is a Progress for callers that do not care.
func Silent(Step) {}

// Ability names an optional interface.
type Ability string

// The optional interfaces and their names.
const (
	Dials     Ability = "dial"     // Dialer
	Consoles  Ability = "console"  // Consoler
	Diagnoses Ability = "doctor"   // Doctor
	Snapshots Ability = "snapshot" // Snapshotter
	Adopts    Ability = "adopt"    // Adopter
	Measures  Ability = "capacity" // Measurer
	Installs  Ability = "install"  // Installer
	Starts    Ability = "start"    // Starter
	Estimates Ability = "prices"   // Pricer
	Expires   Ability = "expire"   // Expirer
	Filters   Ability = "filter"   // Filterer
	Allots    Ability = "quota"    // Quoter
)

// Dialer opens a byte stream to a TCP port of a machine, however isolated its network is from this host.
type Dialer interface {
	// Dial returns an error with code NotFound for a machine that is not there or is off, and Unsupported where this target
	// has no way into machines: then what is inside is left alone.
	Dial(ctx context.Context, e Endpoint) (io.ReadWriteCloser, error)
}

// Endpoint is a TCP port of a machine.
type Endpoint struct {
	Lab     lab.Lab `json:"lab"`
	Machine string  `json:"machine"`
	Port    int     `json:"port"`
}

// Consoler reaches a machine that has no network yet, or no longer.
type Consoler interface {
	// Console is the serial console, both ways, one client at a time (else code InUse). Code Unsupported: this host shows
	// only what was printed; Text says which way there is then.
	Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error)
	// Log is what the serial console has printed since the machine was last started; with follow it stays open.
	Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error)
}

// Doctor says what this host, or the one the options point to, can do. It changes nothing.
type Doctor interface {
	Doctor(ctx context.Context) ([]Diagnosis, error)
}

// Diagnosis is one fact about a host.
type Diagnosis struct {
	Name   string `json:"name"`          // "accelerator"
	Status Health `json:"status"`        // how good the fact is
	Detail string `json:"detail"`        // "tcg: /dev/kvm is there, but a test guest did not start within 3s"
	Fix    string `json:"fix,omitempty"` // the command that mends it
}

// Health is how good a fact is.
type Health string

// The grades of a Diagnosis.
const (
	Good    Health = "ok"
	Warning Health = "warning" // works, with less than it could
	Broken  Health = "broken"  // labctl cannot work like this
)
