package nspawn

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/labctl-dev/labctl/provider"
)

// Doctor implements provider.Doctor.
func (s *nspawn) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	ds := []provider.Diagnosis{s.diagnoseHost(), s.diagnoseOverlay()}
	for _, t := range []struct {
		program, pkg, what string
		missing            provider.Health
	}{
		{"systemd-nspawn", "systemd-container", "machines", provider.Broken},
		{"ip", "iproute2", "networks", provider.Broken},
		{"nft", "nftables", "networks", provider.Broken},
		{"nsenter", "util-linux", "networks", provider.Broken},
		{"qemu-img", "qemu-utils", "unpacking images", provider.Broken},
		{"losetup", "mount", "disks beside the root disk", provider.Warning},
		{"slirp4netns", "slirp4netns", "uplinks", provider.Warning},
		{"dnsmasq", "dnsmasq-base", "uplinks and DHCP", provider.Warning},
	} {
		d := provider.Diagnosis{Name: t.program, Status: provider.Good}
		if path, err := exec.LookPath(t.program); err == nil {
			d.Detail = path + ": for " + t.what
		} else {
			d.Status, d.Detail, d.Fix = t.missing, "not installed: no "+t.what, sudo()+"apt-get install -y "+t.pkg
		}
		ds = append(ds, d)
	}
	ds = append(ds, s.diagnoseLimits(), s.diagnoseWatches())
	return ds, ctx.Err()
}

// sudo begins a command that is for root.
func sudo() string {
	if os.Getuid() == 0 { // there may be none
		return ""
	}
	return "sudo "
}

func (s *nspawn) diagnoseHost() provider.Diagnosis {
	d := provider.Diagnosis{Name: "containers", Status: provider.Good, Detail: "this is Linux, and this user is root"}
	switch {
	case runtime.GOOS != "linux":
		d.Status, d.Detail = provider.Broken, "containers need Linux, this is "+runtime.GOOS
	case os.Getuid() != 0:
		d.Status, d.Detail, d.Fix = provider.Broken, "containers need root", "sudo -E env \"PATH=$PATH\" labctl doctor --provider nspawn   # and all else so"
	}
	return d
}

func (s *nspawn) diagnoseOverlay() provider.Diagnosis {
	b, _ := os.ReadFile("/proc/filesystems")
	if strings.Contains(string(b), "\toverlay\n") {
		return provider.Diagnosis{Name: "overlayfs", Status: provider.Good, Detail: "the kernel has it: machines share their image's files"}
	}
	return provider.Diagnosis{Name: "overlayfs", Status: provider.Warning, Detail: "not loaded; it may be when it is first used", Fix: sudo() + "modprobe overlay"}
}

func (s *nspawn) diagnoseLimits() provider.Diagnosis {
	unified, _ := hierarchies()
	if unified != "" && controls(unified) {
		return provider.Diagnosis{Name: "limits", Status: provider.Good, Detail: "machines have the memory and the processors that the lab gives them, at most"}
	}
	return provider.Diagnosis{Name: "limits", Status: provider.Warning, Detail: "memory and processors of machines are not limited: this host's control groups are of version 1"}
}

func (s *nspawn) diagnoseWatches() provider.Diagnosis {
	if watches(6 * machineWatches) {
		return provider.Diagnosis{Name: "inotify", Status: provider.Good, Detail: "instances are left for some machines"}
	}
	return provider.Diagnosis{Name: "inotify", Status: provider.Warning, Detail: "few instances are left: a machine takes about a dozen", Fix: sudo() + moreWatches}
}
