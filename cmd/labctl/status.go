package main

import (
	"context"
	"errors"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/inside"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// probeTime is how long a machine may take to say how it is.
const probeTime = 20 * time.Second

func (c *cli) statusCommand() *cobra.Command {
	var f labFlags
	var noProbe bool
	cmd := &cobra.Command{
		Use:   "status [LAB]",
		Short: "Show the lab's machines and networks: spec against live",
		Args:  between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.one(args); err != nil {
				return err
			}
			r, err := c.open(cmd.Context(), f)
			if err != nil {
				return err
			}
			defer r.close()
			s, err := r.status(cmd.Context(), !noProbe)
			if err != nil {
				return err
			}
			return c.show(s, func(w io.Writer, o view.Options) error { return view.Status(w, s, o) })
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&noProbe, "no-probe", false, "do not ask the machines themselves how they are")
	return cmd
}

// status is the lab against the world. With probe every running machine is asked how it is.
func (r *road) status(ctx context.Context, probe bool) (view.LabStatus, error) {
	o, err := r.planOptions(ctx, planFlags{})
	if err != nil {
		return view.LabStatus{}, err
	}
	p, err := r.engine.Plan(ctx, r.lab, o)
	if err != nil {
		return view.LabStatus{}, err
	}
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return view.LabStatus{}, err
	}
	s := view.LabStatus{Lab: r.lab.Name, Target: r.lab.Target, Machines: []view.MachineStatus{}, Networks: []view.NetworkStatus{}}
	machines := map[string]provider.Observed{}
	for _, x := range observed {
		if k, _ := r.engine.Description.Kind(x.Addr.Kind); k.Machine {
			machines[x.Machine] = x
			if _, ok := r.lab.Machine(x.Machine); !ok {
				s.Machines = append(s.Machines, view.MachineStatus{Name: x.Machine, Power: power(x), Addresses: outputAddresses(x), Extra: true})
			}
		}
	}
	for _, m := range r.lab.Machines {
		s.Machines = append(s.Machines, machineStatus(m, machines, p))
	}
	sort.Slice(s.Machines, func(i, j int) bool { return s.Machines[i].Name < s.Machines[j].Name })
	for _, n := range r.lab.Networks {
		s.Networks = append(s.Networks, networkStatus(r.lab, n, observed, p))
	}
	for _, o := range observed {
		if others := o.Outputs["foreign"]; others != "" && o.Addr.Kind != "network" {
			if s.Foreign == nil {
				s.Foreign = map[string]string{}
			}
			s.Foreign[o.Addr.String()] = others
		}
	}
	r.installs(ctx, s.Machines, observed)
	if probe {
		r.probe(ctx, s.Machines)
	}
	return s, nil
}

func machineStatus(m lab.Machine, live map[string]provider.Observed, p plan.Plan) view.MachineStatus {
	s := view.MachineStatus{Name: m.Name, Power: "absent", Adopted: m.Adopted}
	if m.External.IsValid() {
		s.Power, s.External = "external", m.External.String()
		if len(m.NICs) == 0 {
			s.Addresses = []string{s.External}
		}
	}
	s.Pending, s.Changes = p.Impact(m.Name)
	for _, n := range m.NICs {
		if n.Addr.IsValid() {
			s.Addresses = append(s.Addresses, n.Addr.String())
		}
	}
	o, ok := live[m.Name]
	if !ok {
		return s
	}
	s.Power = power(o)
	for _, a := range outputAddresses(o) {
		if !slices.Contains(s.Addresses, a) {
			s.Addresses = append(s.Addresses, a)
		}
	}
	if began, err := time.Parse(time.RFC3339, o.Outputs["started"]); err == nil && s.Power == "on" {
		s.Uptime = time.Since(began).Round(time.Second)
	}
	return s
}

// outputAddresses are addresses that only the provider knows, such as one given by DHCP: outputs "address/<network>".
func outputAddresses(o provider.Observed) []string {
	var all []string
	for k, v := range o.Outputs {
		if strings.HasPrefix(k, "address/") {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

func networkStatus(l lab.Lab, n lab.Network, observed []provider.Observed, p plan.Plan) view.NetworkStatus {
	s := view.NetworkStatus{Name: n.Name, Uplink: n.Uplink, State: "absent", Adopted: n.Adopted}
	if n.CIDR.IsValid() {
		s.CIDR = n.CIDR.String()
	}
	for _, m := range l.Machines {
		if _, ok := m.NIC(n.Name); ok {
			s.Ports++
		}
	}
	for _, o := range observed {
		if o.Addr.Kind == "network" && o.Addr.Name == n.Name {
			s.State = "up"
			if cidr, ok := o.Attrs["cidr"].(string); ok && s.CIDR == "" {
				s.CIDR = cidr
			}
			if others := o.Outputs["foreign"]; others != "" {
				s.Detail = "in it is what labctl did not make: " + others
			}
		}
	}
	for _, c := range p.Changes {
		if c.Addr.Kind == "network" && c.Addr.Name == n.Name {
			s.Changes++
		}
	}
	return s
}

// probe fills in how the running machines of the lab are, each asked for a short time.
func (r *road) probe(ctx context.Context, machines []view.MachineStatus) {
	g, ok := r.engine.Guests.(*inside.Guests)
	if !ok {
		return
	}
	var wait sync.WaitGroup
	for i := range machines {
		s := &machines[i]
		m, ok := r.lab.Machine(s.Name)
		if !ok || s.Power != "on" || !m.Ours() || installs(*s) {
			continue
		}
		wait.Go(func() { probe(ctx, g, m, s) })
	}
	wait.Wait()
}

func probe(ctx context.Context, g *inside.Guests, m lab.Machine, s *view.MachineStatus) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	sh := g.Shell(m, provider.Silent)
	defer sh.Close()
	up, err := guest.Uptime(ctx, sh)
	if err != nil {
		s.Health, s.Detail = "unreachable", err.Error()
		return
	}
	s.Uptime = up
	phase := ""
	_, err = guest.Wait(ctx, sh, m, func(p string, _, _ int64) { phase = p })
	switch {
	case err == nil:
		s.Health = "healthy"
	case errors.Is(err, context.DeadlineExceeded):
		s.Health, s.Detail = "booting", phase
	default:
		s.Health, s.Detail = "unhealthy", err.Error()
	}
}
