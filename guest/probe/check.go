package probe

import (
	"context"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/checks"
	"github.com/labctl-dev/labctl/lab"
)

// Outcome is what came of a check.
type Outcome struct {
	OK    bool   `json:"ok"`
	Got   string `json:"got"`   // what was found at the last try
	Tries int    `json:"tries"` // at least 1
}

// Check runs a check in the machine that it is asked from, again and again until it holds, at most c.Within. An error
// means that it could not be asked.
func Check(ctx context.Context, sh guest.Shell, c lab.Check) (Outcome, error) {
	q, err := checks.Ask(c)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	do := struct {
		Do string `json:"do"`
		checks.Question
	}{"check", q}
	err = run(ctx, sh, "run check "+c.Name+" in "+c.From, do, nil, &out)
	return out, err
}
