package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

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
			for _, t := range x.Tools {
				add(install(t.Package, t.Name))
			}
			add(imageAdvice(x))
		case *engine.RefusedError:
			for _, ch := range x.Changes {
				name := ch.Machine
				if name == "" {
					name = ch.Addr.Name
				}
				add(fmt.Sprintf("to do it all the same, say so by name: --allow %s", name))
			}
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
		return install(debianPackage(e.Text), e.Text)
	case provider.Unsupported:
		if strings.HasPrefix(e.Op, "start plugin ") {
			return "labctl and its plugins go together: put both of one release in their places, and build plugins of others with its module; labctl version shows what is found"
		}
	case provider.Full:
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

func install(pkg, program string) string {
	how := "sudo apt-get install " + pkg
	if runtime.GOOS == "darwin" {
		switch pkg {
		case "qemu-system-x86", "qemu-system-arm", "qemu-utils", "ovmf", "qemu-efi-aarch64":
			pkg = "qemu"
		}
		how = "brew install " + pkg
	}
	return program + " is not installed; get it with: " + how
}
