// Package memory is a provider whose world is a file: no hypervisor, nothing runs. It is the double on which labctl is
// tested, a demonstration that needs no machine, and the smallest complete example for authors of plugins. Read
// memory.go (what it is), expand.go (what a lab is made of), provider.go (the verbs), then world.go (the file);
// adopt.go is about what others have made on its host, install.go about installations that are said to be under way.
//
// It must not know how it is reached (package rpc) nor who asks. What a provider needs only to be tested with, its
// faults on demand, is in fault.go.
package memory

import (
	_ "embed"

	"github.com/labctl-dev/labctl/provider"
)

// options is the CUE text that checks a target's options.
//
//go:embed options.cue
var options string

// The kinds, in creation order.
const (
	image   = "image"
	network = "network"
	disk    = "disk"
	machine = "machine"
	guest   = "guest"
)

// Plugin is the memory provider.
func Plugin() provider.Plugin {
	return provider.Plugin{Description: describe(), New: open}
}

// describe says what a change of each attribute costs.
func describe() provider.Description {
	return provider.Description{
		Name:      "memory",
		Abilities: []provider.Ability{provider.Consoles, provider.Diagnoses, provider.Snapshots, provider.Adopts, provider.Measures, provider.Installs, provider.Starts, provider.Estimates, provider.Expires, provider.Filters, provider.Allots},
		Options:   options,
		Kinds: []provider.Kind{
			{Name: image, Attrs: map[string]provider.Attr{
				"source": {Impact: provider.Live}, // disks made from the old content keep it; their own attribute moves them
			}},
			{Name: network, Attrs: map[string]provider.Attr{
				"adopted": {Impact: provider.Replace}, // its name on the host
				"cidr":    {Impact: provider.Live},    // a segment does not care; the machines' guests do
				"cidr6":   {Impact: provider.Live},
				"dhcp":    {Impact: provider.Live},
				"mtu":     {Impact: provider.Live},
				"netboot": {Impact: provider.Live},
				"routed":  {Impact: provider.Live},
				"uplink":  {Impact: provider.Live},
			}},
			{Name: disk, Data: true, Attrs: map[string]provider.Attr{
				"image":   {Impact: provider.Reinstall},
				"install": {Impact: provider.Reinstall},
				"pool":    {Impact: provider.Reinstall},
				"protect": {Impact: provider.Live},
				"size":    {Impact: provider.Live, Lower: provider.Reinstall}, // bytes; grows, and cannot shrink
			}},
			{Name: machine, Machine: true, Seeded: true, RemadeWith: []string{disk}, Attrs: map[string]provider.Attr{
				"adopted":  {Impact: provider.Replace}, // its name on the host
				"arch":     {Impact: provider.Replace},
				"boot":     {Impact: provider.Reboot},
				"cpus":     {Impact: provider.Reboot},
				"devices":  {Impact: provider.Reboot},
				"disks":    {Impact: provider.Live},
				"firmware": {Impact: provider.Reboot},
				"memory":   {Impact: provider.Reboot}, // bytes
				"nested":   {Impact: provider.Reboot},
				"nics":     {Impact: provider.Live, Place: true},
				"power":    {Impact: provider.Reboot, Alike: []string{"on", "saved", "suspended"}},
				"protect":  {Impact: provider.Live},
			}},
			{Name: guest, Guest: true, RemadeWith: []string{machine}, Attrs: map[string]provider.Attr{
				"addresses": {Impact: provider.Reconfigure, Place: true},
				"digest":    {Impact: provider.Reconfigure},
			}},
		},
	}
}
