package provider

import (
	"context"
	"time"
)

// Pricer estimates what things cost while they exist.
type Pricer interface {
	// Prices estimates from a table and asks nobody: things of the same attributes cost the same for everybody. A table of
	// the user's that makes no sense is code Invalid.
	Prices(ctx context.Context, q PriceQuery) (Prices, error)
}

// PriceQuery says what is to be estimated.
type PriceQuery struct {
	Things []Resource `json:"things"`
	// Table is the user's own in the provider's format; nil is the provider's.
	Table []byte `json:"table,omitempty"`
}

// Prices are what things cost.
type Prices struct {
	Currency string  `json:"currency"` // ISO 4217: "USD"
	Date     string  `json:"date"`     // of the table: "2006-01-02"
	Place    string  `json:"place,omitempty"`
	Items    []Price `json:"items,omitempty"` // in the order of the query; what costs nothing is absent
	// Unknown is what the table has no price for, sorted; Without is what no such estimate can know: "traffic".
	Unknown []string `json:"unknown,omitempty"`
	Without []string `json:"without,omitempty"`
}

// Price is what one thing costs, or a part of it.
type Price struct {
	Addr    Addr    `json:"addr"`
	Machine string  `json:"machine,omitempty"`
	What    string  `json:"what"`             // in the cloud's words, the same for all alike: "e2-medium", "pd-balanced"
	Amount  float64 `json:"amount,omitempty"` // of Unit; 0 is one
	Unit    string  `json:"unit,omitempty"`   // "GiB"
	Hourly  float64 `json:"hourly"`
}

// HoursPerMonth is what clouds reckon a month as.
const HoursPerMonth = 730

// Expirer lets machines end by themselves: the target's option "ttl" says after what time, and whatever makes the
// machines sees to it, whether labctl runs then or not. A target that says so of a provider without this is refused.
type Expirer interface {
	// Expired are the labs whose time was up at now and of which this provider's host still has something, by lab and
	// target; also those of other targets. A lab with a machine that may still run is not among them. It changes nothing.
	Expired(ctx context.Context, now time.Time) ([]Remnant, error)
}

// Remnant is what is left of a lab whose time is up.
type Remnant struct {
	Lab    string    `json:"lab"`
	Target string    `json:"target"`
	Ended  time.Time `json:"ended"` // when the last of its machines had to be gone
	Left   int       `json:"left"`  // how many things, as far as can be told beforehand
}
