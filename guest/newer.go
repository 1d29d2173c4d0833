package guest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/labctl-dev/labctl/lab"
)

// newcomer is a document on its way into a machine where a run may be under way: that of the first boot, or one that an
// apply left behind which failed, was killed or ran out of time.
type newcomer struct {
	sh      Shell
	seed    lab.Seed
	machine string

	run   string // the run that was met first, by name
	clean bool   // nothing had failed in it until then
	sent  bool   // that run's document was replaced
}

// meet is told of a machine that is busy, and returns what to say of it. A run about another document is told of the newer one
// by putting that in its place: such a run ends after the item that it is at, so that no program is stopped in the middle
// (converge: give_way). A run of a program that does not know of that goes on to its end, as the machine does if the document
// cannot be sent: then it is sent when the run has ended.
func (n *newcomer) meet(ctx context.Context, s state, phase string) string {
	r := s.report
	if r == nil || r.State != "running" || !s.alive || r.Digest == "" {
		return phase
	}
	if n.run == "" {
		n.run, n.clean = r.Run, len(r.Errors) == 0
	}
	if !n.sent && r.Digest == n.seed.Digest && s.document == sum(n.seed.Guest) {
		return phase
	}
	if !n.sent {
		_, err := run(ctx, n.sh, "send the guest document to "+n.machine, fmt.Sprintf(receive+place, len(n.seed.Guest)), bytes.NewReader(n.seed.Guest))
		n.sent = err == nil
	}
	return "a newer guest document waits until this step of the older one ends: " + phase
}

// accepts says whether the last run in a machine where nothing is under way any more is as good as one that is started now. What
// failed before anybody looked may work by now.
func (n *newcomer) accepts(s state) bool {
	r := s.report
	if r == nil || r.Superseded || r.Digest != n.seed.Digest || s.document != sum(n.seed.Guest) {
		return false
	}
	return r.Run == bootRun && s.fresh || r.Run == n.run && n.clean && !n.sent
}
