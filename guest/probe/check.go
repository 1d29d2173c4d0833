package probe

import (
	"context"
	"fmt"
	"time"

	"github.com/labctl-dev/labctl/guest"
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
	do := map[string]any{"do": "check", "within": time.Duration(c.Within).Seconds()}
	switch {
	case c.TCP != nil:
		do["kind"], do["check"] = "tcp", c.TCP
	case c.HTTP != nil:
		do["kind"], do["check"] = "http", c.HTTP
	case c.DNS != nil:
		do["kind"], do["check"] = "dns", c.DNS
	case c.Command != nil:
		do["kind"], do["check"] = "command", c.Command
	default:
		return Outcome{}, fmt.Errorf("check %s asks nothing", c.Name)
	}
	var out Outcome
	err := run(ctx, sh, "run check "+c.Name+" in "+c.From, do, nil, &out)
	return out, err
}
