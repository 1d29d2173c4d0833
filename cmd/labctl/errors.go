package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/lock"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/image"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/schema"
)

// findingsError is a spec that does not make sense.
type findingsError struct{ findings []view.LocatedFinding }

func (e *findingsError) Error() string {
	return fmt.Sprintf("%d things are wrong with the lab", len(e.findings))
}

// printError prints err for people, one line for each thing that is wrong, and what can be done about it.
func (c *cli) printError(err error) {
	var spec schema.Errors
	var found *findingsError
	switch {
	case errors.As(err, &found):
		_ = view.Findings(c.err, found.findings, screen(c.err)) // stderr is the last resort
		return
	case errors.As(err, &spec):
		_ = view.Findings(c.err, located(spec), screen(c.err))
		return
	}
	for i, line := range strings.Split(strings.TrimSpace(err.Error()), "\n") {
		if i > 0 && strings.HasPrefix(line, " ") { // what a machine or program printed
			fmt.Fprintln(c.err, line)
			continue
		}
		fmt.Fprintln(c.err, "labctl: "+line)
	}
	for _, a := range advice(err) {
		fmt.Fprintln(c.err, "labctl: "+a)
	}
}

// located are a spec's errors as findings.
func located(es schema.Errors) []view.LocatedFinding {
	out := make([]view.LocatedFinding, len(es))
	for i, e := range es {
		places := append(slices.Clone(e.Positions), e.Rules...)
		out[i] = place(places)
		out[i].Path, out[i].Text = e.Path, e.Message
	}
	return out
}

// place is a finding at the first of positions; the others take part.
func place(positions []schema.Position) view.LocatedFinding {
	var f view.LocatedFinding
	for i, p := range positions {
		l := view.Location{File: p.File, Line: p.Line, Column: p.Column}
		if i == 0 {
			f.Location = l
		} else {
			f.Also = append(f.Also, l)
		}
	}
	return f
}

// advice says what can be done about err; every code of every error in it is looked at.
func advice(err error) []string {
	var all []string
	add := func(s string) {
		if s != "" && !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	for _, e := range leaves(err) {
		switch x := e.(type) {
		case *provider.Error:
			add(providerAdvice(x))
		case *image.Error:
			add(toolAdvice(x.Tools))
			add(imageAdvice(x))
		case *fs.PathError:
			add(homeAdvice(x))
		case *engine.RefusedError:
			var names []string
			for _, ch := range x.Changes {
				name := ch.Machine
				if name == "" {
					name = ch.Addr.Name
				}
				names = append(names, name)
			}
			slices.Sort(names)
			add("to do it all the same, say so by name: --allow " + strings.Join(slices.Compact(names), ","))
		case *engine.NoRoomError:
			add(`to do it all the same, give the target the option capacity: "warn"`)
		case *lossError:
			add("to do it all the same, say so by name: --allow " + x.names())
		case *lock.BusyError:
			add("wait for it with --wait 10m")
		}
	}
	return all
}

// leaves lists err and all it wraps.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	all := []error{err}
	switch x := err.(type) {
	case interface{ WrappedErrors() []error }: // go-multierror's, whose Unwrap hides the errors themselves
		for _, e := range x.WrappedErrors() {
			all = append(all, leaves(e)...)
		}
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			all = append(all, leaves(e)...)
		}
	case interface{ Unwrap() error }:
		all = append(all, leaves(x.Unwrap())...)
	}
	return all
}

func providerAdvice(e *provider.Error) string {
	switch e.Code {
	case provider.Missing:
		if name, ok := strings.CutPrefix(e.Op, "start plugin "); ok {
			return "put labctl-provider-" + name + " beside labctl or into $LABCTL_HOME/plugins"
		}
		return install(e.Text, debianPackage(e.Text))
	case provider.Unavailable, provider.Denied, provider.NotFound:
		if strings.HasPrefix(e.Op, "observe ") {
			return "'labctl doctor', with the same lab and target, says more about it, and what mends it"
		}
	case provider.Unsupported:
		if strings.HasPrefix(e.Op, "start plugin ") {
			return "labctl and its plugins go together: put both of one release in their places, and build plugins of others with its module; labctl version shows what is found"
		}
	case provider.Full:
		switch {
		case e.Addr.Provider == "gce":
			return "free something in the project, ask Google for more, or give the target another zone"
		case e.Addr.Kind == "machine": // of memory, ports or what else the text says
			return ""
		}
		return room
	case provider.Crashed:
		return "nothing that was made is lost: the same command goes on where this one stopped"
	case provider.Foreign:
		return "labctl does not touch what it did not make: move it out of the way, or give the lab another name"
	}
	return ""
}

func imageAdvice(e *image.Error) string {
	if e.Code == image.Full {
		return room
	}
	return ""
}

const room = "make room: labctl image ls shows what images take, labctl image rm removes one"

// debianPackage is the package that has a program.
func debianPackage(program string) string {
	switch program {
	case "qemu-system-x86_64":
		return "qemu-system-x86"
	case "qemu-system-aarch64":
		return "qemu-system-arm"
	case "qemu-img", "qemu-nbd":
		return "qemu-utils"
	case "ssh", "scp", "sftp", "ssh-keygen":
		return "openssh-client"
	}
	return program
}

// toolAdvice is one command that installs all of tools, which the error itself names.
func toolAdvice(tools []image.Tool) string {
	var pkgs []string
	for _, t := range tools {
		pkgs = append(pkgs, t.Package)
	}
	if len(pkgs) == 0 {
		return ""
	}
	return install("what is missing", pkgs...)
}

// homeAdvice is for a file below the home folder that may not be made there.
func homeAdvice(e *fs.PathError) string {
	dir, err := home()
	if err != nil || !strings.HasPrefix(dir+"/", e.Path+"/") && !strings.HasPrefix(e.Path, dir+"/") {
		return ""
	}
	for _, why := range []error{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOTDIR} {
		if errors.Is(e, why) {
			return "what labctl keeps is in " + dir + ", where this user cannot write: set LABCTL_HOME to a folder of your own"
		}
	}
	return ""
}

// install says how to get what is missing: Debian's packages, or Homebrew's.
func install(what string, pkgs ...string) string {
	how := "sudo apt-get install -y "
	switch {
	case runtime.GOOS == "darwin":
		how = "brew install "
		for i, pkg := range pkgs {
			switch pkg {
			case "qemu-system-x86", "qemu-system-arm", "qemu-utils", "ovmf", "qemu-efi-aarch64":
				pkgs[i] = "qemu"
			}
		}
	case os.Getuid() == 0: // there may be no sudo
		how = "apt-get install -y "
	}
	slices.Sort(pkgs)
	return "get " + what + " with: " + how + strings.Join(slices.Compact(pkgs), " ")
}
