package qemu

import (
	"fmt"
	"os"
	"time"

	"github.com/labctl-dev/labctl/provider/site"
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
	if err := site.CheckUplink(o.UplinkCIDR); err != nil {
		return err
	}
	if err := checkVMNet(o.VMNet); err != nil {
		return err
	}
	if d, err := time.ParseDuration(o.Stop); err != nil || d < 0 {
		return fmt.Errorf("stop %q is no duration such as \"90s\"", o.Stop)
	}
	var err error
	o.forwards, err = site.ParseForwards(o.Forward)
	return err
}

// stopAfter is how long a machine may take to shut down by itself.
func (o options) stopAfter() time.Duration {
	d, _ := time.ParseDuration(o.Stop)
	return d
}
