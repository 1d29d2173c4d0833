package nspawn

import (
	"runtime"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// TestRefusals holds that what a container cannot be is refused by the spec's own words.
func TestRefusals(t *testing.T) {
	other := lab.ARM64
	if runtime.GOARCH == string(lab.ARM64) {
		other = lab.AMD64
	}
	for want, change := range map[string]func(*lab.Lab, *lab.Machine){
		"servers.web.arch: ":       func(_ *lab.Lab, m *lab.Machine) { m.Arch = other },
		"servers.web.firmware: ":   func(l *lab.Lab, _ *lab.Machine) { l.Images[0].Kernel = true },
		"servers.web.boot: ":       func(_ *lab.Lab, m *lab.Machine) { m.Boot = []lab.Boot{lab.FromNetwork} },
		"servers.web.nested: ":     func(_ *lab.Lab, m *lab.Machine) { m.Nested = true },
		"servers.web.devices: ":    func(_ *lab.Lab, m *lab.Machine) { m.Devices = []string{"0000:65:00.0"} },
		"servers.web.power: ":      func(_ *lab.Lab, m *lab.Machine) { m.Power = lab.Saved },
		"servers.web.adopted: ":    func(_ *lab.Lab, m *lab.Machine) { m.Adopted = "web" },
		"networks.office.adopted:": func(l *lab.Lab, _ *lab.Machine) { l.Networks[0].Adopted = "br0" },
		"servers.web.disks.data: ": func(l *lab.Lab, m *lab.Machine) {
			l.Pools = []lab.Pool{{Name: "fast", Path: "/srv/fast"}}
			m.Disks[1].Pool = "fast"
		},
	} {
		l := providertest.Lab()
		for i := range l.Machines {
			l.Machines[i].Arch = lab.Arch(runtime.GOARCH)
		}
		l.Images[0].Arch = lab.Arch(runtime.GOARCH)
		l.Machines = l.Machines[1:] // without the router
		change(&l, &l.Machines[0])
		_, err := expand(l, nil, options{Stop: "1s"})
		if provider.CodeOf(err) != provider.Unsupported || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want a refusal of %q", err, want)
		}
	}
}
