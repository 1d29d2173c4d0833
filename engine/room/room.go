// Package room says whether what a plan starts has room on its host: processors, memory and disk.
//
// It is pure. It must not know how a host is measured, nor what else a plan is about.
package room

import (
	"cmp"
	"math"
	"slices"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Input is what is judged.
type Input struct {
	Lab      lab.Lab
	Capacity provider.Capacity
	// Starts are the machines, by name, that the plan starts, or starts anew; Ends those that it takes away.
	Starts, Ends map[string]bool
	Disks        []Disk // that the plan makes
}

// Disk is a disk that is made.
type Disk struct {
	Name string // "web/root"
	Pool string // as in lab.Disk
	Size lab.Bytes
	Root bool
}

// Verdict is how the plan's demand and the host's supply compare.
type Verdict struct {
	Host string `json:"host,omitempty"` // "" is this one
	// Needs is what the plan takes in addition to what runs and exists; disk is what its disks may grow to.
	Needs Amount `json:"needs"`
	Has   Has    `json:"has"`
	// Quotas are what the host allows of that which the plan takes more of.
	Quotas []provider.Quota `json:"quotas,omitempty"`
	// Problems are what does not fit, or hardly does.
	Problems []Problem `json:"problems,omitempty"`
}

// Amount is an amount of everything.
type Amount struct {
	CPUs   int       `json:"cpus"`
	Memory lab.Bytes `json:"memory"`
	Disk   lab.Bytes `json:"disk"`
}

// Has is what a host has. What is 0 is not known.
type Has struct {
	CPUs       int       `json:"cpus,omitempty"`
	CPUsInUse  int       `json:"cpus_in_use,omitempty"` // by machines that run
	Overcommit float64   `json:"overcommit,omitempty"`
	Memory     lab.Bytes `json:"memory,omitempty"`
	Free       lab.Bytes `json:"free,omitempty"`
	Disk       lab.Bytes `json:"disk,omitempty"` // free where the plan's disks will be
}

// Problem is one thing that there is too little of.
type Problem struct {
	What    string `json:"what"`              // "cpus", "memory", "disk" or "quota"
	Refused bool   `json:"refused,omitempty"` // apply does not begin
	Text    string `json:"text"`
}

// Refused are the problems over which apply does not begin.
func (v *Verdict) Refused() []Problem {
	if v == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(v.Problems), func(p Problem) bool { return !p.Refused })
}

// First is what a new disk made from an image takes at once, however sparse it is: what a machine writes when it starts
// for the first time and installs a few packages.
const First = 512 * lab.MiB

// Judge compares. Nil is that nothing is started or made, or that the host is not to be measured.
func Judge(in Input) *Verdict {
	if in.Capacity.Limits.Judge == provider.Unasked || len(in.Starts)+len(in.Disks) == 0 {
		return nil
	}
	j := judge{Input: in, v: &Verdict{Host: in.Capacity.Host}, uses: map[string]provider.Use{}}
	for _, u := range in.Capacity.Uses {
		j.v.Has.CPUsInUse += u.CPUs
		if own(in.Lab, u) {
			j.uses[u.Machine] = u
		}
	}
	j.v.Has.CPUs, j.v.Has.Memory, j.v.Has.Free = in.Capacity.CPUs, in.Capacity.Memory, in.Capacity.Free
	j.ask()
	j.cpus()
	j.memory()
	j.disks()
	if h := j.v.Has; h.CPUs == 0 && h.Memory == 0 && h.Disk == 0 && len(in.Capacity.Stores) == 0 {
		return nil // of a host that is not known there is nothing to say
	}
	return j.v
}

// own says whether a machine that runs is one of the lab's.
func own(l lab.Lab, u provider.Use) bool {
	return u.Lab != "" && u.Lab == l.Name && (u.Target == "" || u.Target == l.Target)
}

// judge is a judgement under way.
type judge struct {
	Input
	v    *Verdict
	uses map[string]provider.Use // of the lab's own, by machine
	asks []ask
}

// ask is what one machine takes in addition to what it has.
type ask struct {
	machine string
	cpus    int
	memory  lab.Bytes
}

// ask adds up what the plan's machines take, those with most first.
func (j *judge) ask() {
	for _, m := range j.Lab.Machines {
		if !j.Starts[m.Name] || m.Power != lab.On || m.Adopted != "" {
			continue
		}
		has := j.uses[m.Name]
		a := ask{m.Name, max(0, m.CPUs-has.CPUs), m.Memory - min(m.Memory, has.Memory)}
		if a.cpus > 0 || a.memory > 0 {
			j.asks = append(j.asks, a)
		}
		j.v.Needs.CPUs += a.cpus
		j.v.Needs.Memory += a.memory
	}
	slices.SortStableFunc(j.asks, func(a, b ask) int { return cmp.Compare(b.memory, a.memory) })
	for _, d := range j.Disks {
		j.v.Needs.Disk += d.Size
	}
}

// problem adds one.
func (j *judge) problem(what string, refused bool, text string) {
	refused = refused && j.Capacity.Limits.Judge != provider.Warn
	j.v.Problems = append(j.v.Problems, Problem{What: what, Refused: refused, Text: text})
}

// cpus compares processors: more of them than the host has is no more than slow, up to a factor.
func (j *judge) cpus() {
	h := &j.v.Has
	if h.CPUs == 0 || j.v.Needs.CPUs == 0 {
		return
	}
	h.Overcommit = j.Capacity.Limits.Overcommit
	if h.Overcommit == 0 {
		h.Overcommit = provider.DefaultOvercommit
	}
	used := h.CPUsInUse
	for name := range j.Ends {
		used -= j.uses[name].CPUs
	}
	most := int(math.Floor(float64(h.CPUs) * h.Overcommit))
	if used+j.v.Needs.CPUs > most {
		j.problem("cpus", true, j.tooManyCPUs(used, most))
	}
}

// memory compares memory. What cannot be had now is refused; what can, but is promised to machines that run and have not
// touched it yet, is a warning.
func (j *judge) memory() {
	h := &j.v.Has
	if h.Memory == 0 || j.v.Needs.Memory == 0 {
		return
	}
	free, promised := h.Free, lab.Bytes(0)
	for _, u := range j.Capacity.Uses {
		if own(j.Lab, u) && j.Ends[u.Machine] {
			free += u.Resident
			continue
		}
		if u.Resident > 0 {
			promised += u.Memory - min(u.Memory, u.Resident)
		}
	}
	switch {
	case j.v.Needs.Memory > free:
		j.problem("memory", true, j.tooMuchMemory(free))
	case j.v.Needs.Memory+promised > free:
		j.problem("memory", false, j.promisedMemory(free, promised))
	}
}
