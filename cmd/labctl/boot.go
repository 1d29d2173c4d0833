package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// What a machine can be told to start from, once.
const (
	oncePXE   = "pxe"
	onceDisk  = "disk"
	onceShell = "shell"
)

func (c *cli) bootCommand() *cobra.Command {
	var f labFlags
	rf := runFlags{parallel: 1}
	var once, network string
	var allow []string
	cmd := &cobra.Command{
		Use:   "boot [LAB] MACHINE --once pxe|disk|shell",
		Short: "Start a machine over from the network or its disk, this once",
		Long: `Shut the machine down and start it from what --once says, whatever its boot order is; one that is off is switched on. Its
next start, and be it that its guest restarts it, is as the lab says again: nothing of this is seen by a plan.

  pxe    from what answers on the network: that which the machine is installed from, else the first that it is on, or
         --network. A machine that installs itself from there writes its root disk anew; that has to be allowed by name
         (--allow MACHINE), and 'labctl reinstall' does it with a plan and waits for it.
  disk   from its root disk, past the network
  shell  from the network, where who serves it gives the installer's kernel with a shell on the console ('labctl console')
         and installs nothing

Returns when the machine has started; after a start from the disk, when it is healthy.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := rf.check(cmd); err != nil {
				return err
			}
			if !slices.Contains([]string{oncePXE, onceDisk, onceShell}, once) {
				return usage(cmd, "--once %q: it is pxe, disk or shell", once)
			}
			if network != "" && once == onceDisk {
				return usage(cmd, "--network goes with --once pxe and --once shell")
			}
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			return c.boot(cmd.Context(), f, rf, bootFlags{machine: rest[0], once: once, network: network, allow: allow})
		},
	}
	f.add(cmd)
	rf.addTimes(cmd)
	cmd.Flags().StringVar(&once, "once", "", "`what` to start from: pxe, disk or shell")
	cmd.Flags().StringVar(&network, "network", "", "`name` of the network that pxe and shell start from")
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "let the machine of this `name` lose what is on its root disk")
	completeMachineFlags(cmd, "allow")
	must(cmd.RegisterFlagCompletionFunc("network", (&labFlags{}).completeNames(networkNames)))
	must(cmd.RegisterFlagCompletionFunc("once", cobra.FixedCompletions([]string{oncePXE, onceDisk, onceShell}, cobra.ShellCompDirectiveNoFileComp)))
	c.completeMachines(cmd, &f, false)
	return cmd
}

type bootFlags struct {
	machine, once, network string
	allow                  []string
}

// booted is the result of boot.
type booted struct {
	Lab     string   `json:"lab"`
	Target  string   `json:"target"`
	Machine string   `json:"machine"`
	From    lab.Boot `json:"from"`
	Shell   bool     `json:"shell,omitempty"`
	Healthy bool     `json:"healthy"` // it was waited for, and is
}

func (c *cli) boot(ctx context.Context, f labFlags, rf runFlags, bf bootFlags) error {
	r, err := c.open(ctx, f)
	if err != nil {
		return err
	}
	defer r.close()
	m, err := r.machine(bf.machine)
	if err != nil {
		return err
	}
	if !m.Ours() {
		return fmt.Errorf("cannot start machine %s over: it was not made by labctl", m.Name)
	}
	s, ok := r.engine.Provider.(provider.Starter)
	if !ok || !r.engine.Description.Has(provider.Starts) {
		return r.cannot(provider.Starts)
	}
	start, err := r.startOf(m, bf)
	if err != nil {
		return err
	}
	l, err := r.lock(ctx, "boot", rf.wait)
	if err != nil {
		return err
	}
	defer l.Release()
	wait := start.From == lab.FromDisk && r.engine.Guests != nil
	b := booted{Lab: r.lab.Name, Target: r.lab.Target, Machine: m.Name, From: start.From, Shell: start.Shell, Healthy: wait}
	at := provider.Addr{Provider: r.engine.Description.Name, Kind: "machine", Name: m.Name}
	_, err = r.act(ctx, at, view.Start, rf.timeout+time.Duration(m.Ready), func(ctx context.Context, p provider.Progress) error {
		if err := s.StartOnce(ctx, r.lab.Within(), start, p); err != nil || !wait {
			return err
		}
		return r.engine.Guests.Wait(ctx, m, p)
	})
	if err != nil {
		return err
	}
	return c.show(b, func(w io.Writer, _ view.Options) error { return tellBooted(w, f.path, b) })
}

// startOf is the start that is meant, or why it cannot be.
func (r *road) startOf(m lab.Machine, bf bootFlags) (provider.Start, error) {
	s := provider.Start{Machine: m.Name, From: lab.FromDisk}
	if bf.once == onceDisk {
		return s, nil
	}
	installs, installed := r.lab.Install(m)
	network := bf.network
	switch {
	case network != "":
		if _, ok := m.NIC(network); !ok {
			return s, fmt.Errorf("cannot start machine %s from network %q: it is not on it", m.Name, network)
		}
	case installed:
		network = installs.Network
	case len(m.NICs) == 0:
		return s, fmt.Errorf("cannot start machine %s from a network: it is on none", m.Name)
	default:
		network = m.NICs[0].Network
	}
	s.From, s.Shell = lab.FromNetwork+":"+lab.Boot(network), bf.once == onceShell
	from := installed && installs.Network == network
	switch {
	case s.Shell && !from:
		return s, fmt.Errorf("machine %s gets no shell from network %s: nobody there installs it (install: \"network\"), and only who installs has the kernel for one", m.Name, network)
	case s.Shell && m.Installer != nil:
		return s, fmt.Errorf("machine %s gets no shell from network %s: it is installed by the installer %s, and only labctl's own has one that installs nothing", m.Name, network, m.Installer.Name)
	case s.Shell && installs.Server != "":
		return s, fmt.Errorf("machine %s gets no shell from network %s: it is installed by %s, and only the hypervisor's host (networks.%s.netboot: \"host\") can be asked for one", m.Name, network, installs.Server, network)
	case from && !s.Shell && !slices.Contains(bf.allow, m.Name):
		return s, fmt.Errorf("refused: machine %s installs itself from network %s, and what is on its root disk would be lost; to do it all the same, say so by name: --allow %s; "+
			"'labctl reinstall' shows what that costs, and waits for it", m.Name, network, m.Name)
	}
	return s, nil
}

func tellBooted(w io.Writer, path string, b booted) error {
	var err error
	switch {
	case b.Healthy:
		_, err = fmt.Fprintf(w, "Machine %s has started from its disk, and is healthy.\n", b.Machine)
	case b.Shell:
		_, err = fmt.Fprintf(w, "Machine %s starts a shell: labctl console %s %s\n", b.Machine, path, b.Machine)
	default:
		_, err = fmt.Fprintf(w, "Machine %s starts from %s.\n", b.Machine, b.From)
	}
	return err
}
