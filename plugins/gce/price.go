package gce

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// prices is the table that labctl brings, as data: its note says where the numbers are from, its date how old they are.
//
//go:embed prices.json
var prices []byte

// priceTable is prices.json, and what --price-file names.
type priceTable struct {
	Currency string `json:"currency"`
	Date     string `json:"date"`
	Note     string `json:"note"`
	NAT      struct {
		Machine float64 `json:"machine"` // an hour of the gateway for each machine,
		Most    float64 `json:"most"`    // up to this,
		Address float64 `json:"address"` // and of the address that it takes
	} `json:"nat"`
	Address struct {
		Used   float64 `json:"used"`
		Unused float64 `json:"unused"`
	} `json:"address"`
	DNS struct {
		Zone float64 `json:"zone"` // a month of a zone; what is asked costs besides
	} `json:"dns"`
	Regions map[string]regionPrices `json:"regions"`
}

type regionPrices struct {
	Families map[string]struct {
		CPU    float64 `json:"cpu"`
		Memory float64 `json:"memory"` // for a GiB
	} `json:"families"`
	Types map[string]float64 `json:"types"` // of machines whose price is no sum
	GPUs  map[string]float64 `json:"gpus"`
	Disks map[string]float64 `json:"disks"` // a month of a GiB
}

// readPrices reads a table; nil is labctl's own.
func readPrices(text []byte) (priceTable, error) {
	if text == nil {
		text = prices
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var t priceTable
	err := d.Decode(&t)
	if err == nil {
		_, err = time.Parse(time.DateOnly, t.Date)
	}
	if err == nil && (t.Currency == "" || len(t.Regions) == 0) {
		err = fmt.Errorf("it has no currency or no regions")
	}
	if err != nil {
		return t, &provider.Error{Op: "estimate costs", Code: provider.Invalid, Text: fmt.Sprintf("the table of prices: %v", err)}
	}
	return t, nil
}

// Prices implements provider.Pricer.
func (g *gce) Prices(ctx context.Context, q provider.PriceQuery) (provider.Prices, error) {
	if err := ctx.Err(); err != nil {
		return provider.Prices{}, provider.Wrap("estimate costs", provider.Addr{}, err)
	}
	t, err := readPrices(q.Table)
	if err != nil {
		return provider.Prices{}, err
	}
	e := estimate{table: t, region: g.opts.region(), at: t.Regions[g.opts.region()], things: q.Things}
	e.out = provider.Prices{
		Currency: t.Currency, Date: t.Date, Place: e.region,
		Without: []string{"traffic", "snapshots", "licences", "discounts", "taxes"},
	}
	for _, r := range q.Things {
		if err := e.thing(r); err != nil {
			return provider.Prices{}, provider.Wrap("estimate costs", r.Addr, err)
		}
	}
	slices.Sort(e.out.Unknown)
	e.out.Unknown = slices.Compact(e.out.Unknown)
	return e.out, nil
}

// estimate is one sum in the making.
type estimate struct {
	table  priceTable
	region string
	at     regionPrices
	things []provider.Resource
	out    provider.Prices
}

func (e *estimate) thing(r provider.Resource) error {
	switch r.Addr.Kind {
	case kindMachine:
		return e.machine(r)
	case kindDisk:
		return e.disk(r)
	case kindAddress:
		price := e.table.Address.Unused
		if e.used(r) {
			price = e.table.Address.Used
		}
		e.add(r, "external address", 0, "", price)
	case kindZone:
		if e.table.DNS.Zone == 0 {
			e.unknown("a zone of Cloud DNS")
			return nil
		}
		e.add(r, "Cloud DNS zone", 0, "", e.table.DNS.Zone/provider.HoursPerMonth)
	case kindNAT:
		n := e.behind(r.Addr.Name)
		e.add(r, "Cloud NAT", 0, "", min(float64(n)*e.table.NAT.Machine, e.table.NAT.Most)+e.table.NAT.Address)
	}
	return nil
}

func (e *estimate) add(r provider.Resource, what string, amount float64, unit string, hourly float64) {
	e.out.Items = append(e.out.Items, provider.Price{Addr: r.Addr, Machine: r.Machine, What: what, Amount: amount, Unit: unit, Hourly: hourly})
}

func (e *estimate) unknown(what string) { e.out.Unknown = append(e.out.Unknown, what+" in "+e.region) }

// machine is what runs; what is off or saved costs only its disks (and a saved memory, which is little).
func (e *estimate) machine(r provider.Resource) error {
	var a machineAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil || a.Power != string(lab.On) {
		return err
	}
	hourly, ok := e.at.Types[a.Type]
	if !ok {
		hourly, ok = e.sum(a.Type)
	}
	if !ok {
		e.unknown(a.Type)
		return nil
	}
	e.add(r, a.Type, 0, "", hourly)
	if a.GPUs == "" {
		return nil
	}
	var kind string
	var count int
	if _, err := fmt.Sscanf(a.GPUs, "%s x %d", &kind, &count); err != nil {
		return &provider.Error{Code: provider.Internal, Text: "gpus " + a.GPUs + ": " + err.Error()}
	}
	each, ok := e.at.GPUs[kind]
	if !ok {
		e.unknown(kind)
		return nil
	}
	e.add(r, kind, float64(count), "", each*float64(count))
	return nil
}

// sum is the price of a type by its family's processors and memory.
func (e *estimate) sum(name string) (float64, bool) {
	family, _, _ := strings.Cut(name, "-")
	f, ok := e.at.Families[family]
	types := machineTypes()
	i := slices.IndexFunc(types, func(t machineType) bool { return t.name == name })
	if !ok || i < 0 {
		return 0, false
	}
	t := types[i]
	return float64(t.cpus)*f.CPU + float64(t.memory)/float64(lab.GiB)*f.Memory, true
}

func (e *estimate) disk(r provider.Resource) error {
	var a diskAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	monthly, ok := e.at.Disks[a.Type]
	if !ok {
		e.unknown(a.Type)
		return nil
	}
	size := float64(a.Size) / float64(lab.GiB)
	e.add(r, a.Type, size, "GiB", size*monthly/provider.HoursPerMonth)
	return nil
}

// used says whether a machine that runs has the address.
func (e *estimate) used(r provider.Resource) bool {
	return slices.ContainsFunc(e.things, func(m provider.Resource) bool {
		return m.Addr.Kind == kindMachine && m.Attrs["external"] == r.Addr.Name && m.Attrs["power"] == string(lab.On)
	})
}

// behind is how many machines that run leave a network by its NAT.
func (e *estimate) behind(network string) int {
	n := 0
	for _, m := range e.things {
		nics, _ := m.Attrs["nics"].([]any)
		if m.Addr.Kind != kindMachine || m.Attrs["power"] != string(lab.On) || len(nics) == 0 || m.Attrs["external"] != nil {
			continue
		}
		if first, _ := nics[0].(map[string]any); first["network"] == network { // nic0 has the way out
			n++
		}
	}
	return n
}
