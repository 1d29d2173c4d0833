package qemu

import (
	"fmt"
	"net/netip"
	"os"
	"time"
)

// check says which option makes no sense. LABCTL_ACCEL, if set, overrides accel.
func (o *options) check() error {
	if v := os.Getenv("LABCTL_ACCEL"); v != "" {
		o.Accel = v
	}
	switch o.Accel {
	case "auto", accelTCG, accelKVM, accelHVF:
	default:
		return fmt.Errorf("accel %q is none of auto, tcg, kvm, hvf", o.Accel)
	}
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
