package provider

import (
	"context"

	"github.com/labctl-dev/labctl/lab"
)

// Measurer says how much a host has for machines, and what of it is spoken for.
type Measurer interface {
	// Capacity measures the host in one pass and changes nothing. l tells which storage is asked about: that of its pools,
	// and where disks and images of no pool go.
	Capacity(ctx context.Context, l lab.Lab) (Capacity, error)
}

// Capacity is what a host has. What is 0 or empty is not known, and then nothing is judged by it.
type Capacity struct {
	Host   string    `json:"host,omitempty"` // its name; "" is this one
	CPUs   int       `json:"cpus,omitempty"`
	Memory lab.Bytes `json:"memory,omitempty"`
	// Free is the memory that new machines could get now without taking it from anybody. Caches are free.
	Free lab.Bytes `json:"free,omitempty"`
	// Uses are the machines that run (or stand still in memory), whoever made them, as far as the hypervisor knows them.
	Uses   []Use   `json:"uses,omitempty"`
	Stores []Store `json:"stores,omitempty"`
	Limits Limits  `json:"limits"`
}

// Use is what a machine that runs takes from its host.
type Use struct {
	Name   string `json:"name"`             // on the host
	Lab    string `json:"lab,omitempty"`    // the owner's mark; "" is a foreign machine
	Target string `json:"target,omitempty"` // likewise
	// Machine is the lab machine that it is.
	Machine  string    `json:"machine,omitempty"`
	CPUs     int       `json:"cpus"`
	Memory   lab.Bytes `json:"memory"`             // what it may come to
	Resident lab.Bytes `json:"resident,omitempty"` // what of it the host has given already; 0 is not known
}

// Store is where disks are kept.
type Store struct {
	// Pools are the lab's names of what is kept here (lab.Disk.Pool); "" is disks that name no pool.
	Pools []string `json:"pools"`
	Path  string   `json:"path"` // on the host
	// Device tells stores that share their space from others: it is the same for them.
	Device string    `json:"device"`
	Size   lab.Bytes `json:"size,omitempty"`
	Free   lab.Bytes `json:"free"`
	// Promised is what the disks that are here, whoever's, may still grow by: they take space when they are written to.
	Promised lab.Bytes `json:"promised,omitempty"`
}

// Limits are what a target's options say about how full its host may get.
type Limits struct {
	Judge Judgement `json:"judge,omitempty"` // "" is Refuse
	// Overcommit is how many processors of machines there may be for each of the host's; 0 is DefaultOvercommit.
	Overcommit float64 `json:"overcommit,omitempty"`
}

// DefaultOvercommit is the factor for targets that name none. Machines of a lab mostly wait; a host with sixteen of them
// to a processor is slow, and works.
const DefaultOvercommit = 16

// Judgement is what is done about a lab that does not fit.
type Judgement string

// The judgements.
const (
	Refuse  Judgement = "refuse" // apply does not begin
	Warn    Judgement = "warn"   // it is said, and done all the same
	Unasked Judgement = "off"    // the host is not measured
)
