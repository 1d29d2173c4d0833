package libvirt

import (
	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
)

// The power of machines that are neither on nor off: what somebody asked for, and the others in libvirt's words.
const (
	suspended = string(lab.Suspended)
	saved     = string(lab.Saved) // off for libvirt, with a managed save image
	paused    = "paused"          // not by anybody's wish: its disk is full, or libvirt has something under way with it
	crashed   = "crashed"
	asleep    = "pmsuspended"
	stopping  = "in shutdown"
)

// power is a domain's state in normal form, but for saved.
func power(s libvirt.DomainState, reason int32) string {
	switch s {
	case libvirt.DomainRunning, libvirt.DomainBlocked:
		return on
	case libvirt.DomainPaused:
		switch libvirt.DomainPausedReason(reason) {
		case libvirt.DomainPausedUser, libvirt.DomainPausedUnknown, libvirt.DomainPausedFromSnapshot:
			return suspended
		}
		return paused
	case libvirt.DomainCrashed:
		return crashed
	case libvirt.DomainPmsuspended:
		return asleep
	case libvirt.DomainShutdown:
		return stopping
	}
	return off
}

// domainStates are the states of all domains, in one round trip: of all statistics, these cost next to nothing.
func domainStates(c *libvirt.Libvirt) (map[libvirt.UUID]string, error) {
	records, err := c.ConnectGetAllDomainStats(nil, uint32(libvirt.DomainStatsState), 0)
	if err != nil {
		return nil, err
	}
	states := map[libvirt.UUID]string{}
	for _, r := range records {
		values := map[string]int64{}
		for _, p := range r.Params {
			if n, ok := number(p.Value.I); ok {
				values[p.Field] = n
			}
		}
		if n, ok := values["state.state"]; ok {
			states[r.Dom.UUID] = power(libvirt.DomainState(n), int32(values["state.reason"]))
		}
	}
	return states, nil
}

func number(v any) (int64, bool) {
	switch n := v.(type) {
	case int32:
		return int64(n), true
	case uint32:
		return int64(n), true
	case int64:
		return n, true
	case uint64:
		return int64(n), true
	}
	return 0, false
}
