package memory

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/labctl-dev/labctl/provider"
)

// priceTable is what things of a kind cost in an hour. A table of the user's is JSON of this form.
type priceTable struct {
	Currency string             `json:"currency"`
	Date     string             `json:"date"`
	Prices   map[string]float64 `json:"prices"`
}

// Prices implements provider.Pricer. Nothing costs anything here, unless the target or the user says so.
func (p *memory) Prices(ctx context.Context, q provider.PriceQuery) (provider.Prices, error) {
	const op = "estimate costs"
	if err := ctx.Err(); err != nil {
		return provider.Prices{}, provider.Wrap(op, provider.Addr{}, err)
	}
	t := priceTable{Currency: "USD", Date: "2026-01-01"}
	b, err := json.Marshal(p.options.Values)
	if q.Table != nil {
		b = q.Table
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return provider.Prices{}, &provider.Error{Op: op, Code: provider.Invalid, Text: fmt.Sprintf("the table of prices: %v", err)}
	}
	out := provider.Prices{Currency: t.Currency, Date: t.Date, Without: []string{"traffic"}}
	if len(t.Prices) == 0 {
		return provider.Prices{}, nil
	}
	for _, r := range q.Things {
		hourly, ok := t.Prices[r.Addr.Kind]
		switch {
		case ok:
			out.Items = append(out.Items, provider.Price{Addr: r.Addr, Machine: r.Machine, What: r.Addr.Kind, Hourly: hourly})
		case r.Addr.Kind == machine && !slices.Contains(out.Unknown, machine):
			out.Unknown = append(out.Unknown, machine)
		}
	}
	return out, nil
}

// expires is the time at which a machine that is made now ends; "" is never. Nothing runs here, so it only says so.
func (p *memory) expires() string {
	ttl, _ := p.options.Values["ttl"].(string)
	d, err := time.ParseDuration(ttl)
	if err != nil {
		return ""
	}
	return time.Now().Add(d).UTC().Format(time.RFC3339)
}

// Expired implements provider.Expirer.
func (p *memory) Expired(ctx context.Context, now time.Time) ([]provider.Remnant, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("look for expired labs", provider.Addr{}, err)
	}
	folders, _ := filepath.Glob(filepath.Join(p.options.Home, "labs", "*", "targets", "*"))
	var all []provider.Remnant
	for _, folder := range folders {
		objects, err := p.at(folder).read()
		if err != nil {
			return nil, provider.Wrap("look for expired labs", provider.Addr{}, err)
		}
		var ends, forever time.Time
		for _, o := range objects {
			if o.Addr.Kind != machine {
				continue
			}
			at, err := time.Parse(time.RFC3339, o.Outputs["expires"])
			if err != nil {
				forever = now
			} else if at.After(ends) {
				ends = at
			}
		}
		if ends.IsZero() || !forever.IsZero() || ends.After(now) {
			continue
		}
		lab := filepath.Base(filepath.Dir(filepath.Dir(folder)))
		all = append(all, provider.Remnant{Lab: lab, Target: filepath.Base(folder), Ended: ends, Left: len(objects)})
	}
	slices.SortFunc(all, func(a, b provider.Remnant) int { return strings.Compare(a.Lab+"/"+a.Target, b.Lab+"/"+b.Target) })
	return all, nil
}
