package schema

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// router is a machine that forwards, and what it does besides; l has its networks.
func (d *decoder) router(path, name string, r routerDoc, l lab.Lab) lab.Machine {
	out := d.machine(path, name, r.machineDoc, l)
	out.Router = true
	out.Routing = &lab.Routing{
		Masquerade:  d.masquerade(path+".masquerade", r.Masquerade, out, l),
		Masquerade6: set(r.Masquerade6), DNS: set(r.DNS), DHCP: set(r.DHCP),
	}
	for _, port := range slices.Sorted(maps.Keys(r.Publish)) {
		out.Routing.Publish = append(out.Routing.Publish, d.publish(path+"."+lab.Path("publish", port), port, r.Publish[port]))
	}
	return out
}

// masquerade is the networks over which IPv4 of m leaves with its own address.
func (d *decoder) masquerade(path string, text json.RawMessage, m lab.Machine, l lab.Lab) []string {
	if bytes.HasPrefix(text, []byte("[")) {
		var all []string
		d.member(path, member{value: text}, &all)
		return set(all)
	}
	var uplinks bool
	d.member(path, member{value: text}, &uplinks)
	var out []string
	for _, nic := range m.NICs {
		if n, _ := l.Network(nic.Network); uplinks && n.Uplink && !n.Routed {
			out = append(out, n.Name)
		}
	}
	return set(out)
}

// publish is a port such as "tcp/8080" that leads to "web:80".
func (d *decoder) publish(path, port string, text json.RawMessage) lab.Publish {
	var v publishDoc
	to := path
	if bytes.HasPrefix(text, []byte("{")) {
		d.member(path, member{value: text}, &v)
		to += ".to"
	} else {
		d.member(path, member{value: text}, &v.To)
	}
	out := lab.Publish{Network: v.Network, Log: v.Log, Path: path}
	s, err := lab.ParseService(port)
	if err != nil || s.Proto != lab.TCP && s.Proto != lab.UDP || s.From != s.To {
		d.problem(path, "%q is not one port such as \"tcp/8080\" or \"udp/53\"", port)
	}
	out.Proto, out.Port = s.Proto, s.From
	i := strings.LastIndexByte(v.To, ':')
	number, err := strconv.ParseUint(v.To[i+1:], 10, 16)
	if i < 1 || err != nil || number == 0 {
		d.problem(to, "%q is not a machine and its port such as \"web:80\"", v.To)
		return out
	}
	out.Machine, out.To = v.To[:i], uint16(number)
	return out
}

// set is names sorted, without doubles.
func set(all []string) []string { return slices.Compact(slices.Sorted(slices.Values(all))) }
