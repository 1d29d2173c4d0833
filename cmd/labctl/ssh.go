package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

func (c *cli) sshCommand() *cobra.Command {
	var f labFlags
	var agent bool
	cmd := &cobra.Command{
		Use:   "ssh [LAB] MACHINE [-- COMMAND...]",
		Short: "Log in to a machine",
		Long: `Log in to a machine with this host's ssh, however isolated the machine's networks are. The machine's host key is
known from the start. Exit code: what ssh returns, which is what the command returned.

Where the lab has a jumpbox the way leads over it, and --direct past it.

With -o json the command line and an ssh_config for other programs (scp, rsync, editors) are printed instead.`,
		Args: between(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			args, words := atDash(cmd, args)
			rest, err := f.before(1, args)
			if err != nil {
				return err
			}
			s, h, err := c.system(f, rest[0])
			if err != nil {
				return err
			}
			h.Agent = agent
			return c.login(s, h, words)
		},
	}
	f.add(cmd)
	f.addDirect(cmd)
	cmd.Flags().BoolVarP(&agent, "forward-agent", "A", false, "let the machine use your ssh agent")
	c.completeMachines(cmd, &f, false)
	return cmd
}

// atDash parts the arguments at "--".
func atDash(cmd *cobra.Command, args []string) (before, after []string) {
	if n := cmd.ArgsLenAtDash(); n >= 0 {
		return args[:n], args[n:]
	}
	return args, nil
}

// way is how the system's ssh gets in.
type way struct {
	Machine string   `json:"machine"`
	User    string   `json:"user"`
	Command []string `json:"command"`
	Config  string   `json:"ssh_config"`
}

// login becomes the system's ssh.
func (c *cli) login(s access.System, h access.Host, words []string) error {
	argv := s.SSH(h, words...)
	if c.json() {
		return c.show(way{h.Machine, h.User, argv, s.Config([]access.Host{h})}, func(io.Writer, view.Options) error { return nil })
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return &provider.Error{Op: "log in to " + h.Machine, Code: provider.Missing, Text: "ssh"}
	}
	if err := syscall.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("cannot run %s: %w", path, err)
	}
	return nil
}

// system lays out the lab's keys for the system's ssh, which gets in through `labctl proxy`.
func (c *cli) system(f labFlags, machine string) (access.System, access.Host, error) {
	none := func(err error) (access.System, access.Host, error) { return access.System{}, access.Host{}, err }
	spec, err := f.load()
	if err != nil {
		return none(err)
	}
	t, err := f.choose(spec.Lab)
	if err != nil {
		return none(err)
	}
	m, err := machineOf(spec.Lab, machine)
	if err != nil {
		return none(err)
	}
	return systemOf(f, spec.Lab, t, m)
}

// systemOf is system for a machine of a lab.
func systemOf(f labFlags, l lab.Lab, t lab.Target, m lab.Machine) (access.System, access.Host, error) {
	none := func(err error) (access.System, access.Host, error) { return access.System{}, access.Host{}, err }
	if err := entered(m); err != nil {
		return none(err)
	}
	secrets, err := secretsOf(l)
	if err != nil {
		return none(err)
	}
	id, err := identity(secrets, l.Name)
	if err != nil {
		return none(err)
	}
	proxy, err := f.proxy(t.Name)
	if err != nil {
		return none(err)
	}
	s, err := access.WriteSystem(secrets, id, hosts(l))
	host := func(m lab.Machine) access.Host {
		return access.Host{Alias: alias(l, m), Machine: m.Name, User: login(m), Proxy: append(slices.Clone(proxy), m.Name, "22")}
	}
	h := host(m)
	if jump, ok := jumpTo(l, m); ok && !f.direct {
		over := host(jump)
		h.Jump, h.Name = &over, l.FQDN(m.Name)
	}
	return s, h, err
}

// secretsOf is where the lab's key is.
func secretsOf(l lab.Lab) (string, error) {
	dir, err := home()
	return filepath.Join(dir, "labs", l.Name, "secrets"), err
}

func hosts(l lab.Lab) []access.Host {
	var all []access.Host
	for _, m := range l.Machines {
		if !m.Enters() {
			continue
		}
		h := access.Host{Alias: alias(l, m), Machine: m.Name}
		if m.SSH != nil {
			h.Key = m.SSH.HostKey
		}
		all = append(all, h)
	}
	return all
}

// alias is a machine's name for the system's ssh: unique on this host.
func alias(l lab.Lab, m lab.Machine) string { return m.Name + "." + l.Name }

// identity is the lab's, if it has one on this host.
func identity(secrets, name string) (access.Identity, error) {
	if _, err := os.Stat(filepath.Join(secrets, "lab.key")); err != nil {
		return access.Identity{}, fmt.Errorf("lab %s has no key on this host, so it was not applied from here", name)
	}
	return access.LoadIdentity(secrets)
}

// proxy is the command line, but for machine and port, that carries a connection.
func (f *labFlags) proxy(target string) ([]string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("cannot find labctl itself: %w", err)
	}
	path, err := filepath.Abs(f.path)
	if err != nil {
		return nil, fmt.Errorf("cannot find %s: %w", f.path, err)
	}
	argv := []string{exe, "proxy", "--target", target}
	for _, t := range f.tags {
		argv = append(argv, "--define", t)
	}
	return append(argv, path), nil
}

// line makes one line for a shell of a command's words: a single word is taken as a line already.
func line(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = access.Quote(w)
	}
	return strings.Join(quoted, " ")
}
