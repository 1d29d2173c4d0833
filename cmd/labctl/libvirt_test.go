package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
	"github.com/labctl-dev/labctl/schema"
)

// TestLibvirt runs the scripts on a libvirt host, each on one of its own: there labctl and virsh find the host's
// libvirtd at qemu:///system.
func TestLibvirt(t *testing.T) {
	if testing.Short() {
		t.Skip("starts machines")
	}
	images := os.Getenv("LABCTL_TEST_IMAGES")
	if why := missing(images); why != "" {
		tiny.Skip(t, "%s", why)
	}
	files, err := filepath.Glob("../../testdata/scripts/libvirt_*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(f), "libvirt_"), ".txtar")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := host{t: t, images: images, daemons: map[string]*libvirttest.Daemon{"": libvirttest.Start(t, libvirttest.Config{})}}
			p := params([]string{f})
			plain := p.Setup
			p.Setup = func(e *testscript.Env) error {
				if err := plain(e); err != nil {
					return err
				}
				return h.setup(e)
			}
			p.Cmds["eventually"] = cmdEventually
			p.Cmds["slay"] = cmdSlay
			p.Cmds["inhabit"] = h.cmdInhabit
			p.Cmds["libvirtd"] = h.cmdLibvirtd
			p.Cmds["host"] = h.cmdHost
			p.Cmds["small"] = h.cmdSmall
			p.Cmds["sshd"] = h.cmdSSHD
			p.Cmds["mask"] = h.cmdMask
			testscript.Run(t, p)
		})
	}
}

// host is the libvirt host of a script, and others that it asks for by name.
type host struct {
	t       *testing.T
	images  string
	daemons map[string]*libvirttest.Daemon
}

// setup makes labctl and virsh run on the host, and gives labctl the built images.
func (h host) setup(e *testscript.Env) error {
	run, err := os.MkdirTemp("/tmp", "lt") // short: QEMU's provider has sockets there
	if err != nil {
		return err
	}
	e.Defer(func() { os.RemoveAll(run) })
	e.Defer(func() { slayAll(e.WorkDir) })
	e.Setenv("XDG_RUNTIME_DIR", run)
	e.Setenv("LABCTL_ACCEL", "tcg")
	e.Setenv("URI", h.daemons[""].URI)
	programs := filepath.Join(e.WorkDir, "programs")
	home := filepath.Join(e.WorkDir, "home", "images")
	for _, dir := range []string{programs, home} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, p := range []string{"labctl", "virsh", "ip"} {
		if err := h.daemons[""].Wrap(programs, p); err != nil {
			return err
		}
	}
	e.Setenv("PATH", programs+string(filepath.ListSeparator)+e.Getenv("PATH"))
	built, err := filepath.Glob(filepath.Join(h.images, "*"))
	for _, b := range built {
		if err := os.Symlink(b, filepath.Join(home, filepath.Base(b))); err != nil {
			return err
		}
	}
	return err
}

// cmdInhabit is "inhabit LAB IMAGE [TAG=VALUE ...]": machines of that image are tiny ones that let labctl in.
func (h host) cmdInhabit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: inhabit LAB IMAGE [TAG=VALUE ...]")
	}
	s, err := schema.Load(schema.Options{Args: args[:1], Dir: ts.MkAbs("."), Tags: args[2:]})
	ts.Check(err)
	for _, i := range s.Lab.Images {
		if i.Name == args[1] {
			home := ts.MkAbs("home")
			ts.Check(os.RemoveAll(filepath.Join(home, "images", image.Short(image.ID(i)))))
			tiny.Inhabited(h.t, home, i)
			return
		}
	}
	ts.Fatalf("%s uses no image %s", args[0], args[1])
}

// cmdLibvirtd is "libvirtd kill|resume|hang|unhang".
func (h host) cmdLibvirtd(ts *testscript.TestScript, neg bool, args []string) {
	does := map[string]func(){"kill": h.daemons[""].Kill, "resume": h.daemons[""].Resume, "hang": h.daemons[""].Hang, "unhang": h.daemons[""].Unhang}
	if neg || len(args) != 1 || does[args[0]] == nil {
		ts.Fatalf("usage: libvirtd kill|resume|hang|unhang")
	}
	does[args[0]]()
}

// cmdHost is "host NAME": another libvirt host; URI_NAME is its libvirtd, which labctl can reach, but not its machines.
func (h host) cmdHost(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || h.daemons[args[0]] != nil {
		ts.Fatalf("usage: host NAME")
	}
	h.daemons[args[0]] = libvirttest.Start(h.t, libvirttest.Config{})
	ts.Setenv("URI_"+args[0], h.daemons[args[0]].URI)
}

// cmdSmall is "small SIZE": a folder on the host with room for that much; $SMALL is its path.
func (h host) cmdSmall(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: small SIZE")
	}
	ts.Setenv("SMALL", h.daemons[""].Small(h.t, args[0]))
}

// cmdSSHD is "sshd": from now on the host has an ssh server at 127.0.0.1, and the user's ssh knows it, by the file
// $KNOWN_HOSTS.
func (h host) cmdSSHD(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: sshd")
	}
	s := h.daemons[""].SSHD(h.t)
	program := fmt.Sprintf("#!/bin/sh\nexec '%s' \"$@\"\n", s.Command)
	ts.Check(os.WriteFile(ts.MkAbs("programs/ssh"), []byte(program), 0o755))
	ts.Setenv("KNOWN_HOSTS", s.KnownHosts)
}

// cmdMask is "mask PROGRAM ...": from now on the host has no such programs.
func (h host) cmdMask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: mask PROGRAM ...")
	}
	for _, a := range args {
		if out, err := h.daemons[""].Command(h.t.Context(), "mount", "--bind", "/dev/null", a).CombinedOutput(); err != nil {
			ts.Fatalf("mount: %v: %s", err, out)
		}
	}
}
