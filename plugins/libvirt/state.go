package libvirt

import (
	"github.com/digitalocean/go-libvirt"
)

// The power of machines that are neither on nor off, in libvirt's words.
const (
	paused    = "paused"
	crashed   = "crashed"
	suspended = "pmsuspended"
	stopping  = "in shutdown"
)

// power is a domain's state in normal form.
func power(s libvirt.DomainState) string {
	switch s {
	case libvirt.DomainRunning, libvirt.DomainBlocked:
		return on
	case libvirt.DomainPaused:
		return paused
	case libvirt.DomainCrashed:
		return crashed
	case libvirt.DomainPmsuspended:
		return suspended
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
		for _, p := range r.Params {
			if n, ok := number(p.Value.I); ok && p.Field == "state.state" {
				states[r.Dom.UUID] = power(libvirt.DomainState(n))
			}
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
