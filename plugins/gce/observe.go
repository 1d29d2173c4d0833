package gce

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"sync"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// Observe implements provider.Provider: all collections are listed at the same time, once each, and every hit is looked at
// again: a filter is the API's idea of what was asked for. What cannot be listed is asked for by name.
func (g *gce) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	op := "observe lab " + l.Name
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap(op, provider.Addr{}, err)
	}
	v := newView(g, l.Name)
	v.lab = l
	if err := v.fetch(ctx); err != nil {
		return nil, provider.Wrap(op, provider.Addr{}, failed(err))
	}
	v.learnNames()
	for _, step := range []func() error{v.networks, v.subnets, v.firewalls, v.nats, v.addresses, v.disks, v.machines, v.routes, v.dnsZones} {
		if err := step(); err != nil {
			return nil, provider.Wrap(op, provider.Addr{}, err)
		}
	}
	sort.Slice(v.found, func(i, j int) bool { return v.found[i].Addr.Compare(v.found[j].Addr) < 0 })
	return v.found, nil
}

// kinds are those that compute has things of, each in the project.
func kinds() []string {
	return []string{kindNetwork, kindSubnet, kindFirewall, kindNAT, kindAddress, kindDisk, kindMachine, kindRoute}
}

// view is one look at a project.
type view struct {
	g   *gce
	own owner
	lab lab.Lab

	mu     sync.Mutex
	things map[string][]json.RawMessage // ours by kind
	others map[string][]json.RawMessage // likewise those of others that may be in our networks
	zones  []zoneSeen                   // ours

	network  map[string]string // by the name that it has in the project: a network of the lab
	machine  map[string]string // likewise
	external map[string]string // by address: whose of ours it is
	found    []provider.Observed
}

func newView(g *gce, lab string) *view {
	return &view{g: g, own: g.owner(lab), things: map[string][]json.RawMessage{}, others: map[string][]json.RawMessage{}}
}

func (v *view) fetch(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make(chan error, 1+len(kinds()))
	for _, kind := range kinds() {
		go func() {
			err := v.list(ctx, kind)
			if err != nil {
				err = fmt.Errorf("%s: %w", v.g.collection(kind), err)
			}
			errs <- err
		}()
	}
	go func() {
		err := v.fetchZones(ctx)
		if err != nil {
			err = fmt.Errorf("Cloud DNS: %w", err)
		}
		errs <- err
	}()
	var first error
	for range 1 + len(kinds()) {
		if err := <-errs; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

// list gets everything of a kind that may be ours.
func (v *view) list(ctx context.Context, kind string) error {
	filter := ""
	if labelled(kind) {
		filter = "labels." + labelLab + "=" + v.own.lab
	}
	collection := v.g.collection(kind)
	err := v.g.client.List(ctx, collection, filter, func(raw json.RawMessage) error { return v.take(kind, raw) })
	if !api.Is(err, api.Unsupported) {
		if err == nil {
			v.g.listable(collection, true)
		}
		return err
	}
	v.g.listable(collection, false)
	names, err := v.names(kind)
	if err != nil {
		return err
	}
	for _, a := range names {
		var raw json.RawMessage
		err := v.g.client.Get(ctx, v.g.path(v.own.lab, a), &raw)
		if err == nil {
			err = v.take(kind, raw)
		}
		if err != nil && !api.Is(err, api.NotFound) {
			return err
		}
	}
	return nil
}

func labelled(kind string) bool {
	return kind == kindMachine || kind == kindDisk || kind == kindAddress
}

// names are those that things of a kind may have: what the lab is made of now, and what was once made.
func (v *view) names(kind string) ([]provider.Addr, error) {
	all, err := v.g.journal.names(v.own.lab)
	if err != nil {
		return nil, err
	}
	if rs, err := expand(v.lab, nil, v.g.opts); err == nil { // a lab that is refused was not made as it is
		for _, r := range rs {
			all = append(all, r.Addr)
		}
	}
	slices.SortFunc(all, provider.Addr.Compare)
	return slices.DeleteFunc(slices.Compact(all), func(a provider.Addr) bool { return a.Kind != kind }), nil
}

// take keeps what is ours, and what others may have put into our networks.
func (v *view) take(kind string, raw json.RawMessage) error {
	var m marked
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.owned(v.own, kind) {
		v.things[kind] = append(v.things[kind], raw)
	} else if slices.Contains(inNetworks(), kind) {
		v.others[kind] = append(v.others[kind], raw)
	}
	return nil
}

// each decodes the things of a kind.
func each[T any](v *view, kind string, f func(T) error) error {
	for _, raw := range v.things[kind] {
		var x T
		if err := json.Unmarshal(raw, &x); err != nil {
			return fmt.Errorf("%s: %w", kind, err)
		}
		if err := f(x); err != nil {
			return err
		}
	}
	return nil
}

// learnNames finds out what the lab calls the networks and machines that others name.
func (v *view) learnNames() {
	v.network, v.machine, v.external = map[string]string{}, map[string]string{}, map[string]string{}
	for _, raw := range v.things[kindNetwork] {
		var n marked
		if json.Unmarshal(raw, &n) == nil {
			m, _ := readMark(n.Description)
			v.network[n.Name] = m.Name
		}
	}
	for _, raw := range v.things[kindMachine] {
		var n marked
		if json.Unmarshal(raw, &n) == nil {
			v.machine[n.Name] = n.Labels[labelMachine]
		}
	}
	for _, raw := range v.things[kindAddress] {
		var a api.Address
		if json.Unmarshal(raw, &a) == nil && a.Address != "" {
			v.external[a.Address] = a.Labels[labelName]
		}
	}
}

// networkOf is the lab's name of the network at a link, or what the project calls it.
func (v *view) networkOf(link string) string {
	if n, ok := v.network[api.Base(link)]; ok {
		return n
	}
	return api.Base(link)
}

func (v *view) add(kind, name, machine string, attrs any, needs []provider.Addr, outputs map[string]string) error {
	enc, err := provider.Encode(attrs)
	if err != nil {
		return err
	}
	v.found = append(v.found, provider.Observed{
		Addr: addr(kind, name), Lab: v.own.lab, Attrs: enc, Needs: needs, Machine: machine, Outputs: outputs,
	})
	return nil
}

// onNetwork is what a thing on a network holds on to.
func (v *view) onNetwork(network string) []provider.Addr {
	return []provider.Addr{addr(kindNetwork, network)}
}

func (v *view) networks() error {
	return each(v, kindNetwork, func(n api.Network) error {
		m, _ := readMark(n.Description)
		out := map[string]string{"name": n.Name}
		if others := v.foreign(n.Name); others != "" {
			out["foreign"] = others
		}
		return v.add(kindNetwork, m.Name, "", networkAttrs{MTU: mtuOf(n)}, nil, out)
	})
}

func (v *view) subnets() error {
	return each(v, kindSubnet, func(s api.Subnet) error {
		m, _ := readMark(s.Description)
		network := v.networkOf(s.Network)
		return v.add(kindSubnet, m.Name, "", subnetOf(network, s), v.onNetwork(network), map[string]string{"name": s.Name})
	})
}

func (v *view) firewalls() error {
	return each(v, kindFirewall, func(f api.Firewall) error {
		m, _ := readMark(f.Description)
		network := v.networkOf(f.Network)
		a := firewallAttrs{
			Network: network, From: sorted(f.Sources), To: sorted(f.Destinations), Allow: servicesOf(f),
			Log: f.Log != nil && f.Log.Enable, Priority: f.Priority, Disabled: f.Disabled,
		}
		return v.add(kindFirewall, m.Name, "", a, v.onNetwork(network), map[string]string{"name": f.Name})
	})
}

func (v *view) nats() error {
	return each(v, kindNAT, func(r api.Router) error {
		m, _ := readMark(r.Description)
		network := v.networkOf(r.Network)
		return v.add(kindNAT, m.Name, "", natAttrs{network, natOf(r)}, v.onNetwork(network), map[string]string{"name": r.Name})
	})
}

func (v *view) addresses() error {
	return each(v, kindAddress, func(a api.Address) error {
		out := map[string]string{"name": a.Name, "address": a.Address}
		return v.add(kindAddress, a.Labels[labelName], a.Labels[labelMachine], addressAttrs{Tier: a.Tier}, nil, out)
	})
}

func (v *view) disks() error {
	return each(v, kindDisk, func(d api.Disk) error {
		m, _ := readMark(d.Description)
		machine := d.Labels[labelMachine]
		a := diskAttrs{Image: m.Image, Type: api.Base(d.Type), Size: lab.Bytes(d.Size) * lab.GiB, Protect: d.Labels[labelProtect] == "true"}
		return v.add(kindDisk, machine+"/"+d.Labels[labelName], machine, a, nil, map[string]string{"name": d.Name})
	})
}

func (v *view) routes() error {
	return each(v, kindRoute, func(r api.Route) error {
		m, _ := readMark(r.Description)
		via := api.Base(r.Instance)
		if name, ok := v.machine[via]; ok {
			via = name
		}
		network := v.networkOf(r.Network)
		needs := append(v.onNetwork(network), addr(kindMachine, via))
		return v.add(kindRoute, m.Name, "", routeAttrs{network, r.To, via, r.Priority}, needs, map[string]string{"name": r.Name})
	})
}
