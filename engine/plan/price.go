package plan

import "github.com/labctl-dev/labctl/provider"

// Cost is an estimate of what a lab costs while it exists. It is made from a table of prices and no bill.
type Cost struct {
	Currency string `json:"currency"`
	Date     string `json:"date"` // of the table
	Place    string `json:"place,omitempty"`
	Before   Rate   `json:"before"` // as the lab is
	After    Rate   `json:"after"`  // once the plan is done
	// Items are what After is made of; Unknown is what the table has no price for, and Without what no table can know.
	Items   []provider.Price `json:"items,omitempty"`
	Unknown []string         `json:"unknown,omitempty"`
	Without []string         `json:"without,omitempty"`
}

// Rate is a price over time. A month is provider.HoursPerMonth hours.
type Rate struct {
	Hourly  float64 `json:"hourly"`
	Monthly float64 `json:"monthly"`
}

// Left are the things that there are once p is done, as far as they can be told from what was observed before.
func (p Plan) Left(observed []provider.Observed) []provider.Resource {
	gone := map[provider.Addr]bool{}
	var put []provider.Resource
	for _, c := range p.Changes {
		gone[c.Addr] = true
		if c.After != nil && c.Action.Puts() {
			put = append(put, *c.After)
		}
	}
	var left []provider.Resource
	for _, r := range Things(observed) {
		if !gone[r.Addr] {
			left = append(left, r)
		}
	}
	return append(left, put...)
}

// Things are what was observed, as things that are asked about.
func Things(observed []provider.Observed) []provider.Resource {
	out := make([]provider.Resource, len(observed))
	for i, o := range observed {
		out[i] = provider.Resource{Addr: o.Addr, Lab: o.Lab, Attrs: o.Attrs, Needs: o.Needs, Machine: o.Machine, Adopted: o.Adopted}
	}
	return out
}
