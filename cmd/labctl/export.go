package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/access"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/export"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

// exporter writes a lab in some other tool's terms.
type exporter struct {
	name, short, long string
	write             func(*exporting) ([]byte, error)
}

func exporters() []exporter {
	return []exporter{
		{"ssh-config", "An ssh_config by which ssh, scp, rsync and editors get in", "Machines are called MACHINE." +
			"LAB: ssh -F FILE web.demo. It works while the lab runs and this labctl stays where it is. Where the lab has a jumpbox the others are reached over it (ProxyJump).", (*exporting).sshConfig},
		{"hosts", "A block for /etc/hosts", "All addresses of the lab's machines with their names, between two marks, for hosts that have a way to them.", (*exporting).hosts},
		{"ansible", "An inventory for Ansible, in YAML", `Groups: routers, servers, group_LABEL, role_ROLE and network_NETWORK. Ansible gets in as labctl does, however isolated a
machine is, if the lab was applied from here; with --direct, and of labs that were not, at the machines' addresses.`, (*exporting).ansible},
		{"terraform", "A main.tf.json for Terraform's provider dmacvicar/libvirt 0.8", `Networks, pools, volumes, cloud-init disks and domains, with the same addresses, MACs and documents inside. Secrets
are sensitive variables without values (TF_VAR_secret_NAME), unless --with-secrets writes them into the text. What
Terraform cannot say stands in a comment at the top.`, (*exporting).terraform},
	}
}

func (c *cli) exportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the lab in other tools' terms: ssh_config, /etc/hosts, Ansible, Terraform",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(cmd, "unknown format %q", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return usage(cmd, "say ssh-config, hosts, ansible or terraform")
		},
	}
	for _, e := range exporters() {
		cmd.AddCommand(c.exporterCommand(e))
	}
	return cmd
}

// sshConfigCommand is export ssh-config under the name that people look for beside ssh.
func (c *cli) sshConfigCommand() *cobra.Command { return c.exporterCommand(exporters()[0]) }

func (c *cli) exporterCommand(e exporter) *cobra.Command {
	x := &exporting{}
	cmd := &cobra.Command{
		Use: e.name + " [LAB]", Short: e.short, Long: e.short + ".\n\n" + e.long,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := x.f.one(args); err != nil {
				return err
			}
			if err := x.open(c); err != nil {
				return err
			}
			text, err := e.write(x)
			if err != nil {
				return err
			}
			return c.show(map[string]string{"format": e.name, "text": string(text)}, func(w io.Writer, _ view.Options) error {
				_, err := w.Write(text)
				return err
			})
		},
	}
	x.f.add(cmd)
	switch e.name {
	case "ansible":
		cmd.Flags().BoolVar(&x.direct, "direct", false, "meet machines at their addresses")
	case "terraform":
		cmd.Flags().BoolVar(&x.withSecrets, "with-secrets", false, "write the secrets' values into the text")
	}
	return cmd
}

// exporting is a lab on its way out. No plugin is asked: what is written follows from the lab alone.
type exporting struct {
	f                   labFlags
	direct, withSecrets bool

	cli    *cli
	home   string
	spec   *schema.Spec
	lab    lab.Lab
	target lab.Target
	keys   string // folder
}

// open loads the lab, which has to make sense, and chooses its target.
func (x *exporting) open(c *cli) error {
	spec, err := x.f.load()
	if err != nil {
		return err
	}
	found, _ := vetLab(spec)
	if err := c.warn(found); err != nil {
		return err
	}
	if x.target, err = x.f.choose(spec.Lab); err != nil {
		return err
	}
	if x.keys, err = secretsOf(spec.Lab); err != nil {
		return err
	}
	if x.home, err = home(); err != nil {
		return err
	}
	x.cli, x.spec, x.lab = c, spec, spec.Lab
	x.lab.Target = x.target.Name
	return nil
}

// ways are how the system's ssh gets into all machines.
func (x *exporting) ways() (access.System, []access.Host, error) {
	var all []access.Host
	var s access.System
	for _, m := range x.lab.Machines {
		if !m.Enters() {
			continue
		}
		one, h, err := systemOf(x.f, x.spec.Lab, x.target, m)
		if err != nil {
			return s, nil, err
		}
		s, all = one, append(all, h)
	}
	return s, all, nil
}

func (x *exporting) sshConfig() ([]byte, error) {
	s, hosts, err := x.ways()
	return []byte(s.Config(hosts)), err
}

func (x *exporting) hosts() ([]byte, error) { return export.Hosts(x.lab), nil }

func (x *exporting) ansible() ([]byte, error) {
	if _, err := os.Stat(filepath.Join(x.keys, "lab.key")); x.direct || errors.Is(err, os.ErrNotExist) {
		return export.Ansible(x.lab, nil), nil
	}
	s, hosts, err := x.ways()
	if err != nil {
		return nil, err
	}
	ways := map[string][]string{}
	for _, h := range hosts {
		ways[h.Machine] = s.Options(h)
	}
	return export.Ansible(x.lab, ways), nil
}

func (x *exporting) terraform() ([]byte, error) {
	in := export.Input{Lab: x.lab}
	if x.target.Provider == "libvirt" && len(x.target.Options) > 0 {
		if err := json.Unmarshal(x.target.Options, &in.Options); err != nil {
			return nil, fmt.Errorf("targets.%s: %w", x.target.Name, err)
		}
	}
	if id, err := identity(x.keys, x.lab.Name); err == nil {
		in.Authorized = id.Authorized("labctl@" + x.lab.Name)
	}
	if x.withSecrets {
		r := &road{cli: x.cli, flags: x.f, lab: x.lab, home: x.home}
		values, err := r.secrets(true)
		if err != nil {
			return nil, err
		}
		in.Secrets = values
	}
	return export.Terraform(in)
}
