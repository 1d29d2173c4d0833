package libvirt

import (
	"bytes"
	"context"
	"strings"

	"os"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/pc"
)

// domainType is how machines of an architecture run on the host: the target's option, else KVM where the host has it
// for that architecture. LABCTL_ACCEL=tcg decides for emulation, for hosts whose KVM is there and does not work.
func (v *virt) domainType(ctx context.Context, a machineAttrs) (string, error) {
	if a.Type != "" {
		return a.Type, nil
	}
	switch os.Getenv("LABCTL_ACCEL") {
	case "tcg":
		return typeQEMU, nil
	case "kvm":
		return typeKVM, nil
	}
	arch := qemuArch(a.Arch)
	v.mu.Lock()
	kind, ok := v.accel[arch]
	v.mu.Unlock()
	if ok {
		return kind, nil
	}
	err := v.host.Ask(ctx, "ask for KVM", func(c *libvirt.Libvirt) error {
		kind = typeKVM
		_, err := c.ConnectGetDomainCapabilities(nil, libvirt.OptString{arch}, nil, libvirt.OptString{typeKVM}, 0)
		if conn.Is(err, libvirt.ErrInvalidArg, libvirt.ErrNoSupport, libvirt.ErrConfigUnsupported, libvirt.ErrInternalError, libvirt.ErrOperationUnsupported) {
			kind = typeQEMU
			return nil
		}
		return err
	})
	if err != nil {
		return "", err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.accel[arch] = kind
	return kind, nil
}

// bootFrom is what a machine that starts by its image's kernel is started with. An image whose kernel needs an NVMe
// disk, which libvirt has not, brings no initrd, and so is started by its own loader.
func (v *virt) bootFrom(ctx context.Context, def definition) (bootFrom, error) {
	id := def.attrs.Image
	if def.attrs.Firmware != lab.Kernel {
		return bootFrom{}, nil
	}
	v.mu.Lock()
	b, ok := v.boots[id]
	v.mu.Unlock()
	if !ok {
		var err error
		if b, err = v.findKernel(ctx, id); err != nil {
			return b, err
		}
		v.mu.Lock()
		v.boots[id] = b
		v.mu.Unlock()
	}
	if b != (bootFrom{}) {
		b.cmdline = pc.KernelCmdline(b.cmdline, def.attrs.Arch, def.kind == typeQEMU)
	}
	return b, nil
}

func (v *virt) findKernel(ctx context.Context, id string) (b bootFrom, err error) {
	var cmdline libvirt.StorageVol
	err = v.host.Ask(ctx, "look for the kernel of image "+id, func(c *libvirt.Libvirt) error {
		if _, err := findVolume(c, imageMark(id)); err != nil {
			return err
		}
		files := []*string{&b.kernel, &b.initrd, &b.cmdline}
		for i, name := range []string{"vmlinuz", "initrd", "cmdline"} {
			vol, err := findVolume(c, imageFile(id, name))
			if err != nil {
				b = bootFrom{}
				if provider.CodeOf(err) == provider.NotFound {
					return nil
				}
				return err
			}
			*files[i], cmdline = vol.Key, vol
		}
		return nil
	})
	if err != nil || b == (bootFrom{}) {
		return b, err
	}
	var text bytes.Buffer
	if err := v.host.Download(ctx, cmdline, &text, 0); err != nil {
		return bootFrom{}, err
	}
	b.cmdline = strings.TrimSpace(text.String())
	return b, nil
}
