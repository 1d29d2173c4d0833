package provider

import (
	"cmp"
	"context"
	"strings"
)

// Quoter is a provider whose host allows everybody only so much of something, whatever room there is: a cloud's quotas.
type Quoter interface {
	// Quotas asks, in one pass, how much there may be of what q takes more of, and how much there is. It changes nothing.
	Quotas(ctx context.Context, q QuotaQuery) (Quotas, error)
}

// QuotaQuery is what there is of a lab, and what there will be.
type QuotaQuery struct {
	Before []Resource `json:"before"`
	After  []Resource `json:"after"`
}

// Quotas are what a host allows.
type Quotas struct {
	// Judge is what is done about a lab that needs more; "" is Refuse.
	Judge Judgement `json:"judge,omitempty"`
	All   []Quota   `json:"all,omitempty"` // of which more will be taken, by Place and Name
}

// Quota is how much there may be of one thing.
type Quota struct {
	Name  string  `json:"name"`  // in the host's words: "CPUS"
	Place string  `json:"place"` // where it holds: "region europe-west1"
	Limit float64 `json:"limit"`
	Used  float64 `json:"used"`  // by everybody, now
	Needs float64 `json:"needs"` // in addition
	// By are the things that need it, the largest share first: "edge 2".
	By []string `json:"by,omitempty"`
}

// Compare orders quotas by place, then name.
func (q Quota) Compare(o Quota) int {
	return cmp.Or(strings.Compare(q.Place, o.Place), strings.Compare(q.Name, o.Name))
}
