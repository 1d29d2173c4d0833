package qemu

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
)

// fromDisk is the root disk among what a machine starts from; networks have fromNetwork before their name.
const (
	fromDisk    = string(lab.FromDisk)
	fromNetwork = string(lab.FromNetwork) + ":"
)

// cutNetwork is the network that a machine starts from; false if it is none.
func cutNetwork(from string) (string, bool) { return strings.CutPrefix(from, fromNetwork) }

// bootIndex is the place of a device among those that a machine starts from; false for one that it does not start from.
func (a machineAttrs) bootIndex(device string) (int, bool) {
	if a.Boot == nil {
		return 0, device == fromDisk
	}
	i := slices.Index(a.Boot, device)
	return i, i >= 0
}

// bootable gives a device its place.
func (a machineAttrs) bootable(device string, arguments map[string]any) map[string]any {
	if i, ok := a.bootIndex(device); ok {
		arguments["bootindex"] = i
	}
	return arguments
}

// nestedMark is an object without a use of its own: QEMU cannot tell which processor's help it was asked to pass on.
const nestedMark = "nested"

// nested makes a machine one that can run others.
func (c *cmdline) nested(a machineAttrs) {
	if a.Nested {
		c.add("-object", "secret,id="+nestedMark+",data=-")
	}
}

// nestedModel is a CPU with the processor's help for machines in it. The model "max" has AMD's under emulation, and
// "host" what the host's kernel allows.
func nestedModel(a machineAttrs, h host, model string) string {
	if !a.Nested || h.CPU == "" || h.CPU == "host" || strings.Contains(h.CPU, "vmx") || strings.Contains(h.CPU, "svm") {
		return model
	}
	if h.Accel == accelKVM && exists("/sys/module/kvm_intel") {
		return model + ",+vmx"
	}
	return model + ",+svm"
}

// canNest is an error where a host does not pass the processor's help on to machines in machines.
func canNest(h host) error {
	refuse := func(why string) error {
		return &provider.Error{Code: provider.Unsupported, Text: "nested: " + why}
	}
	switch h.Accel {
	case accelTCG:
		return nil
	case accelHVF:
		return refuse("macOS does not pass the processor's help on to machines in machines; the option accel: \"tcg\" emulates it")
	}
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		b, err := os.ReadFile("/sys/module/" + module + "/parameters/nested")
		if err != nil {
			continue
		}
		if on := strings.TrimSpace(string(b)); on == "Y" || on == "1" {
			return nil
		}
		return refuse("the host's " + module + " has it off: sudo modprobe -r " + module + " && sudo modprobe " + module + " nested=1, while no machine runs; for good: options " + module + " nested=1 in /etc/modprobe.d")
	}
	return refuse("the host's kernel does not offer it; the option accel: \"tcg\" emulates it")
}

// askBoot finds what a machine starts from, and whether it can run others.
func (l *live) askBoot(ctx context.Context, c *qmp.Client) error {
	if l.attrs.Firmware == lab.Kernel {
		return nil // it starts its kernel
	}
	at := map[string]string{}
	if len(l.attrs.Disks) > 0 {
		at[fromDisk] = diskID(0, l.attrs.Disks[0])
	}
	for _, n := range l.attrs.NICs {
		at[fromNetwork+n.Network] = "nic." + n.Network
	}
	place := map[string]int{}
	boot := []string{}
	for what, id := range at {
		index := -1
		if err := get(ctx, c, "/machine/peripheral/"+id, "bootindex", &index); err != nil {
			return err
		}
		if index >= 0 {
			place[what] = index
			boot = append(boot, what)
		}
	}
	slices.SortFunc(boot, func(a, b string) int { return place[a] - place[b] })
	if !slices.Equal(boot, []string{fromDisk}) {
		l.attrs.Boot = boot
	}
	if len(boot) == 0 {
		l.attrs.Boot = []string{"nothing"}
	}
	return nil
}
