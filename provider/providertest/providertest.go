// Package providertest is the provider contract as a test: the one judge for all providers, in this process or behind
// the wire. A failing message begins with the promise that is broken.
//
// It must not know any provider, nor how the engine computes a plan: to bring a lab about it follows the description
// alone, in the simplest way.
package providertest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Options say whom to judge, and by what.
type Options struct {
	Plugin provider.Plugin
	// Options makes those of a fresh, empty world; nil: a temporary Home, the target "test", no values. Called once for
	// each world that the judge makes.
	Options func(t *testing.T) provider.Options
	// Lab is what the judge builds and then edits; the zero Lab is Lab(). It should use whatever the provider supports.
	Lab lab.Lab
	// Seed makes a machine's seed; nil makes one that holds a canary as its secret and a digest of m.Guest
	// and, of routers and firewalls, the policy.
	Seed func(l lab.Lab, m lab.Machine) lab.Seed
	// Edits are more changes than those in Edits(): for attributes that those do not reach, or do not reach here.
	Edits []Edit
	// Fit takes out of the judge's routed lab, and of each change of it, what the provider refuses; nil is nothing. Routers
	// and the policy stay.
	Fit func(lab.Lab) lab.Lab
	// Skip has, by the name of an edit, the reason why it is not to be made.
	Skip map[string]string
	// Fixed has, by "kind.attribute", the reason why no edit changes that attribute.
	Fixed map[string]string
	// BootID returns the identity of a running machine's current boot; with it, the judge checks that impacts short of
	// reboot do not boot. nil: that is not checked.
	BootID func(t *testing.T, p provider.Provider, l lab.Lab, machine string) string
	// Gone fails the test if anything is left of lab l after its last object was deleted; nil looks for the target's
	// folder in Home.
	Gone func(t *testing.T, o provider.Options, l lab.Lab)
	// Foreign makes, on the host of a world, at least one network and one machine on it that are nobody's. It must be set
	// for a provider that adopts, and not for others.
	Foreign func(t *testing.T, o provider.Options)
	// Deadline is for each call; 0 is 30 s.
	Deadline time.Duration
	// Slow says that a world takes long to make: interruptions are tried at one point instead of all.
	Slow bool
}

// canary stands for what must never leave a seed.
const canary = "canary-e7d1c0ffee"

// Test judges a provider.
func Test(t *testing.T, o Options) {
	if o.Lab.Name == "" {
		o.Lab = Lab()
	}
	if o.Deadline == 0 {
		o.Deadline = 30 * time.Second
	}
	t.Run("description", func(t *testing.T) { describes(t, o) })
	t.Run("expand", func(t *testing.T) { expands(t, o) })
	t.Run("empty", func(t *testing.T) { empty(t, o) })
	t.Run("life", func(t *testing.T) { life(t, o) })
	t.Run("strangers", func(t *testing.T) { strangers(t, o) })
	t.Run("canceled", func(t *testing.T) { canceled(t, o) })
	t.Run("interrupted", func(t *testing.T) { interrupted(t, o) })
	t.Run("edits", func(t *testing.T) { edited(t, o) })
	t.Run("routed", func(t *testing.T) { routed(t, o) })
	t.Run("protected", func(t *testing.T) { protected(t, o) })
	t.Run("adopted", func(t *testing.T) { adopts(t, o) })
	t.Run("abilities", func(t *testing.T) { able(t, o) })
}

// Lab is a small lab with a little of everything: an uplink, an isolated network, a router and a server with a second
// disk. Nothing in it needs to be downloaded.
func Lab() lab.Lab {
	prefix := netip.MustParsePrefix
	root := lab.Disk{Name: "root", Size: 2 * lab.GiB}
	image := lab.Image{
		Name: "base", Arch: lab.AMD64, MinDisk: lab.GiB, URL: "file:///nonexistent/base.qcow2",
		Digest: "sha256:" + hex.EncodeToString(make([]byte, 32)),
	}
	m := lab.Machine{
		CPUs: 1, Memory: 128 * lab.MiB, Arch: lab.AMD64, Firmware: lab.BIOS, Image: image.Name, Power: lab.On,
		Guest: lab.Guest{User: "lab"}, Ready: lab.Duration(time.Minute),
	}
	gate, web := m, m
	gate.Name, gate.Router, gate.Disks = "gate", true, []lab.Disk{root}
	gate.NICs = []lab.NIC{{Network: "out", Link: lab.Up}, {Network: "office", Link: lab.Up}}
	web.Name, web.Disks = "web", []lab.Disk{root, {Name: "data", Size: lab.GiB}}
	web.NICs = []lab.NIC{{Network: "office", Link: lab.Up}}
	return lab.Complete(lab.Lab{
		Name: "judge", Domain: "judge.lab", Target: "test", Images: []lab.Image{image},
		Networks: []lab.Network{
			{Name: "out", Uplink: true, CIDR: prefix("10.199.0.0/24"), MTU: 1500},
			{Name: "office", CIDR: prefix("10.199.1.0/24"), MTU: 1500},
		},
		Machines: []lab.Machine{gate, web},
	})
}

// seeds makes those of all machines.
func (o Options) seeds(l lab.Lab) map[string]lab.Seed {
	seeds := map[string]lab.Seed{}
	for _, m := range l.Machines {
		if o.Seed != nil {
			seeds[m.Name] = o.Seed(l, m)
			continue
		}
		inside := []any{m.Guest}
		if m.Routing != nil || m.Firewall { // its filter stands inside, too
			inside = append(inside, m.Routing, l.Policy)
		}
		b, _ := json.Marshal(inside) // plain data: cannot fail
		sum := sha256.Sum256(b)
		seeds[m.Name] = lab.Seed{
			Machine:  m.Name,
			UserData: []byte("#cloud-config\n# " + canary + "\n"),
			MetaData: fmt.Appendf(nil, "instance-id: %s\nlocal-hostname: %s\n", m.Name, m.Name),
			Guest:    []byte(`{"secret":"` + canary + `"}`), NetworkConfig: []byte("version: 2\n"),
			Digest: "sha256:" + hex.EncodeToString(sum[:]),
		}
	}
	return seeds
}

// fresh makes the options of an empty world.
func (o Options) fresh(t *testing.T) provider.Options {
	t.Helper()
	if o.Options != nil {
		return o.Options(t)
	}
	return provider.Options{Home: t.TempDir(), Target: "test"}
}

// open makes a provider.
func (o Options) open(t *testing.T, options provider.Options) provider.Provider {
	t.Helper()
	p, err := o.Plugin.New(options)
	if err != nil {
		t.Fatalf("New returns a provider that is ready: %v", err)
	}
	return p
}

// gone checks that nothing is left.
func (o Options) gone(t *testing.T, options provider.Options) {
	t.Helper()
	if o.Gone != nil {
		o.Gone(t, options, o.Lab)
		return
	}
	folder := filepath.Join(options.Home, "labs", o.Lab.Name, "targets", options.Target)
	if left, err := os.ReadDir(folder); !os.IsNotExist(err) {
		t.Errorf("nothing is left after the last object is deleted: %s is still there, with %v", folder, left)
	}
}

// clone is a deep copy.
func clone(l lab.Lab) lab.Lab {
	b, err := json.Marshal(l)
	if err != nil {
		panic(err) // a lab is plain data
	}
	var c lab.Lab
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
