package probe

import (
	"context"
	"net/netip"
	"time"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// Question is one connection that a machine tries to open.
type Question struct {
	ID    int           `json:"id"` // comes back in the answer; unique in one call
	Proto lab.Proto     `json:"proto"`
	Dst   netip.Addr    `json:"dst"`
	Port  uint16        `json:"port"`
	How   How           `json:"how"` // of ICMP nothing
	Wait  time.Duration `json:"-"`   // for an answer; 0 where none is expected: as long as says enough
}

// How is how a port is asked.
type How string

// The ways to ask.
const (
	Echo    How = "echo"    // a listener of ours answers with its machine's name
	Connect How = "connect" // something else holds the TCP port: that it accepts is enough, nothing is sent to it
	DNS     How = "dns"     // a name server holds the UDP port
	NTP     How = "ntp"     // a time server holds the UDP port
)

// Answer is what came of a question.
type Answer struct {
	ID     int        `json:"id"`
	State  State      `json:"state"`
	Detail string     `json:"detail"`
	By     string     `json:"by"`     // the machine whose listener answered
	Source netip.Addr `json:"source"` // the kernel's choice; the zero Addr where it found no way
}

// State is how a question ended.
type State string

// The ends of questions.
const (
	Open    State = "open"
	Silent  State = "silent"  // no answer
	Refused State = "refused" // a TCP reset, or an ICMP message that says that nobody listens
	Failed  State = "failed"  // another answer of the network, such as no route
	Unsure  State = "unsure"  // silence that says nothing
	Broken  State = "broken"  // it could not be asked, for want of memory for instance
)

// Asking is one call of Ask.
type Asking struct {
	Machine   string
	Token     string // of the listeners
	Parallel  int    // questions at once, at least 1
	Questions []Question
}

// Ask lets a machine ask, and returns the answers in the order in which they came, and how long the slowest of those
// took that were answered by a listener. Questions without Wait are asked last: the silence that says no lasts longer
// the slower the others were.
func Ask(ctx context.Context, sh guest.Shell, a Asking) ([]Answer, time.Duration, error) {
	type timed struct {
		Question
		Wait float64 `json:"wait"` // seconds
	}
	questions := make([]timed, len(a.Questions))
	for i, q := range a.Questions {
		questions[i] = timed{q, q.Wait.Seconds()}
	}
	var told struct {
		Answers []Answer
		Slowest float64
	}
	err := run(ctx, sh, "ask from "+a.Machine, map[string]any{
		"do": "ask", "token": a.Token, "parallel": a.Parallel, "questions": questions,
	}, nil, &told)
	for i, x := range told.Answers {
		if x.Source.IsUnspecified() {
			told.Answers[i].Source = netip.Addr{}
		}
	}
	return told.Answers, time.Duration(told.Slowest * float64(time.Second)), err
}
