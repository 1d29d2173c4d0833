package nspawn

import (
	"fmt"
	"net/netip"
	"time"
)

// check says which option makes no sense.
func (o *options) check() error {
	if o.UplinkCIDR != "" {
		p, err := netip.ParsePrefix(o.UplinkCIDR)
		if err != nil || !p.Addr().Is4() || p != p.Masked() || p.Bits() > 29 {
			return fmt.Errorf("uplink_cidr %q is no IPv4 network such as \"10.0.2.0/24\", at least a /29", o.UplinkCIDR)
		}
	}
	if d, err := time.ParseDuration(o.Stop); err != nil || d < 0 {
		return fmt.Errorf("stop %q is no duration such as \"90s\"", o.Stop)
	}
	var err error
	o.forwards, err = parseForwards(o.Forward)
	return err
}

// stopAfter is how long a machine may take to shut down by itself.
func (o options) stopAfter() time.Duration {
	d, _ := time.ParseDuration(o.Stop)
	return d
}
