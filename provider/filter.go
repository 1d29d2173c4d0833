package provider

import "github.com/labctl-dev/labctl/lab"

// Filterer is a provider whose host filters packets outside of machines, besides what filters in them: then both are part
// of the proof of what the lab lets through.
type Filterer interface {
	// Filter is pure, as Expand is, and refuses what Expand refuses. Its rules are those that Expand makes resources of.
	Filter(l lab.Lab) (Filter, error)
}

// Filter is a host's own filter for a lab.
type Filter struct {
	// Lab is the lab with the addresses that its machines and uplinks have on this host.
	Lab lab.Lab `json:"lab"`
	lab.Filter
}
