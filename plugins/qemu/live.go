package qemu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/qemu/qmp"
	"github.com/labctl-dev/labctl/provider"
)

// live is what a running machine says of itself.
type live struct {
	attrs  machineAttrs // Lab, Image and Protect are not asked: they are no part of a process
	status string       // the state of its power in QEMU's words
	board  string       // QEMU's name of its machine type, with the version
	kernel string       // path of the loaded kernel
	pid    int
	accel  string
	busy   map[string]bool   // ports in use, by id
	at     map[string]string // the ports that devices are plugged into, both by id
	nodes  []string          // block nodes, the backing ones of NICs' peers not included
}

// ask asks a running machine for everything that it has an attribute for.
func ask(ctx context.Context, c *qmp.Client) (live, error) {
	l := live{pid: c.PID(), accel: accelTCG}
	for _, f := range []func(context.Context, *qmp.Client) error{l.askBoard, l.askDevices, l.askNICs, l.askPorts, l.askBoot} {
		if err := f(ctx, c); err != nil {
			return l, err
		}
	}
	l.attrs.sort()
	return l, nil
}

func (l *live) askBoard(ctx context.Context, c *qmp.Client) error {
	var status struct{ Status string }
	var cpus []struct{}
	var mem struct {
		Base   lab.Bytes `json:"base-memory"`
		Pluged lab.Bytes `json:"plugged-memory"`
	}
	var target struct{ Arch string }
	var kvm struct{ Enabled bool }
	for _, q := range []struct {
		cmd string
		out any
	}{{"query-status", &status}, {"query-cpus-fast", &cpus}, {"query-memory-size-summary", &mem}, {"query-target", &target}, {"query-kvm", &kvm}} {
		if err := c.Execute(ctx, q.cmd, nil, q.out); err != nil {
			return err
		}
	}
	a := &l.attrs
	l.status = status.Status
	a.Power, a.CPUs, a.Memory = power(status.Status), len(cpus), mem.Base+mem.Pluged
	a.Arch = map[string]lab.Arch{"x86_64": lab.AMD64, "aarch64": lab.ARM64}[target.Arch]
	if kvm.Enabled {
		l.accel = accelKVM
	}
	var flash, board string
	if err := get(ctx, c, "/machine", "type", &board); err != nil {
		return err
	}
	l.board = strings.TrimSuffix(board, "-machine")
	if err := get(ctx, c, "/machine", "kernel", &l.kernel); err != nil {
		return err
	}
	if err := get(ctx, c, "/machine", "pflash0", &flash); err != nil {
		return err
	}
	switch {
	case l.kernel != "":
		a.Firmware = lab.Kernel
	case flash != "":
		a.Firmware = lab.UEFI
	default:
		a.Firmware = lab.BIOS
	}
	return nil
}

// get reads a property; one that is not there leaves out alone.
func get(ctx context.Context, c *qmp.Client, path, property string, out any) error {
	err := c.Execute(ctx, "qom-get", map[string]string{"path": path, "property": property}, out)
	if errors.As(err, new(*qmp.Error)) {
		return nil
	}
	return err
}

// children lists an object's children.
func children(ctx context.Context, c *qmp.Client, path string) ([]string, error) {
	var list []struct{ Name, Type string }
	if err := c.Execute(ctx, "qom-list", map[string]string{"path": path}, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range list {
		if strings.HasPrefix(p.Type, "child<") {
			names = append(names, p.Name)
		}
	}
	return names, nil
}

// askDevices finds the disks; the nodes without a device are remains of a removal that did not end.
func (l *live) askDevices(ctx context.Context, c *qmp.Client) error {
	devices, err := children(ctx, c, "/machine/peripheral")
	if err != nil {
		return err
	}
	for _, d := range devices {
		if name, ok := strings.CutPrefix(d, "root."); ok {
			l.attrs.Disks = slices.Insert(l.attrs.Disks, 0, name)
		} else if name, ok := strings.CutPrefix(d, "disk."); ok {
			l.attrs.Disks = append(l.attrs.Disks, name)
		}
	}
	var nodes []struct {
		Name string `json:"node-name"`
	}
	if err := c.Execute(ctx, "query-named-block-nodes", map[string]bool{"flat": true}, &nodes); err != nil {
		return err
	}
	for _, n := range nodes {
		l.nodes = append(l.nodes, n.Name)
	}
	return nil
}

// askNICs finds the NICs, their addresses and their links. QEMU can set a link but not tell it, so whoever sets one
// leaves a mark among QEMU's own objects (see setLink).
func (l *live) askNICs(ctx context.Context, c *qmp.Client) error {
	var filters []struct {
		Name string
		MAC  string `json:"main-mac"`
	}
	if err := c.Execute(ctx, "query-rx-filter", nil, &filters); err != nil {
		return err
	}
	marks, err := children(ctx, c, "/objects")
	if err != nil {
		return err
	}
	l.attrs.Nested = slices.Contains(marks, nestedMark)
	for _, f := range filters {
		network, ok := strings.CutPrefix(f.Name, "nic.")
		if !ok {
			continue
		}
		n := nic{Network: network, MAC: strings.ToLower(f.MAC), Link: lab.Up}
		// The filter's address is what the guest made of it; the device's is ours.
		if err := get(ctx, c, "/machine/peripheral/"+f.Name, "mac", &n.MAC); err != nil {
			return err
		}
		n.MAC = strings.ToLower(n.MAC)
		if slices.Contains(marks, linkMark(network)) {
			n.Link = lab.Down
		}
		mtu := 0
		if err := get(ctx, c, "/machine/peripheral/"+f.Name, "host_mtu", &mtu); err != nil {
			return err
		}
		if mtu != 0 && mtu != defaultMTU {
			if l.attrs.MTU == nil {
				l.attrs.MTU = map[string]int{}
			}
			l.attrs.MTU[network] = mtu
		}
		l.attrs.NICs = append(l.attrs.NICs, n)
	}
	return nil
}

// askPorts finds the ports that have something plugged in, or did until the guest lets go.
func (l *live) askPorts(ctx context.Context, c *qmp.Client) error {
	l.busy, l.at = map[string]bool{}, map[string]string{}
	type device struct {
		ID     string `json:"qdev_id"`
		Bridge *struct {
			Devices []struct {
				ID string `json:"qdev_id"`
			} `json:"devices"`
		} `json:"pci_bridge"`
	}
	var buses []struct{ Devices []device }
	if err := c.Execute(ctx, "query-pci", nil, &buses); err != nil {
		return err
	}
	for _, b := range buses {
		for _, d := range b.Devices {
			if strings.HasPrefix(d.ID, "port") && d.Bridge != nil {
				l.busy[d.ID] = len(d.Bridge.Devices) > 0
				for _, plugged := range d.Bridge.Devices {
					l.at[plugged.ID] = d.ID
				}
			}
		}
	}
	return nil
}

// free is a port with nothing plugged in.
func (l *live) free() (string, error) {
	for i := 0; i < len(l.busy); i++ {
		if taken, ok := l.busy[bridge(i)]; ok && !taken {
			l.busy[bridge(i)] = true
			return bridge(i), nil
		}
	}
	return "", &provider.Error{Code: provider.Full, Text: fmt.Sprintf("all %d ports for NICs and disks are taken; stop and start the machine for more", len(l.busy))}
}
