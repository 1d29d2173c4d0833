package install

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Phase is a step of an installation.
type Phase string

// The phases in their order.
const (
	Network Phase = "network" // an address and a way to the server
	Fetch   Phase = "order"   // what to do
	Choose  Phase = "disk"    // which disk, and whether all fits
	Write   Phase = "write"   // the image, whose digest is checked on the way
	Grow    Phase = "grow"    // the last partition takes the space that is left
	Plant   Phase = "seed"    // the seed becomes a partition
	Finish  Phase = "finish"  // from now on the disk boots
)

// Boot is what a server says of a machine, number 0, that has asked what to boot, and whose installer has not said anything.
const Boot Phase = "boot"

// Phases are all of them, in order.
func Phases() []Phase { return []Phase{Network, Fetch, Choose, Write, Grow, Plant, Finish} }

// Report says how far an installation is. It is posted as JSON when a phase begins, at most every second and at least every
// 20 s meanwhile, when it has failed, and when it is done.
type Report struct {
	Machine string   `json:"machine,omitempty"` // once the order is known
	Phase   Phase    `json:"phase"`
	Number  int      `json:"number"`            // of the phase, from 1
	Of      int      `json:"of"`                // how many phases there are
	Percent int      `json:"percent"`           // of the phase, 0 to 100
	Error   string   `json:"error,omitempty"`   // it has ended without success
	Log     []string `json:"log,omitempty"`     // with Error: the last lines that it printed, oldest first
	Done    bool     `json:"done,omitempty"`    // the disk is written and will boot
	Retries int      `json:"retries,omitempty"` // connections that had to be made again
}

func (r Report) String() string {
	switch {
	case r.Error != "":
		return fmt.Sprintf("%s failed: %s", r.Phase, r.Error)
	case r.Done:
		return "installed"
	}
	return fmt.Sprintf("installing %d/%d (%s), %d %%", r.Number, r.Of, r.Phase, r.Percent)
}

// logLines is how many of its last lines an installer tells when it fails.
const logLines = 20

// reporter tells a server and the console how far things are. A server that does not answer is no reason to fail.
type reporter struct {
	http    *http.Client
	console io.Writer
	every   time.Duration // between two reports of one phase
	now     func() time.Time

	mu   sync.Mutex
	url  string
	last time.Time
	is   Report
	log  []string
	said string // on the console, last
}

func newReporter(c *http.Client, url string, console io.Writer) *reporter {
	return &reporter{http: c, url: url, console: console, every: time.Second, now: time.Now, is: Report{Of: len(Phases())}}
}

// machine is known from now on.
func (r *reporter) machine(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.is.Machine = name
}

// begin says that a phase begins.
func (r *reporter) begin(ctx context.Context, p Phase) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.is.Phase, r.is.Percent = p, 0
	r.is.Number = 1 + len(before(p))
	r.post(ctx)
}

func before(p Phase) []Phase {
	for i, x := range Phases() {
		if x == p {
			return Phases()[:i]
		}
	}
	return nil
}

// done says how much of the phase is done.
func (r *reporter) done(ctx context.Context, part, all int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.is.Percent = 100; all > 0 {
		r.is.Percent = int(part * 100 / all)
	}
	if r.now().Sub(r.last) >= r.every {
		r.post(ctx)
	}
}

// note prints a line that a later failure tells, too.
func (r *reporter) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.print(fmt.Sprintf(format, args...))
}

func (r *reporter) print(line string) {
	fmt.Fprintf(r.console, "labctl-install: %s\n", line)
	r.log = append(r.log, strings.Split(strings.ReplaceAll(strings.TrimSpace(line), "\t", "    "), "\n")...)
	r.log = r.log[max(0, len(r.log)-logLines):]
}

// retried counts a connection that had to be made again.
func (r *reporter) retried(what string, err error) {
	r.note("%s: %v: trying again", what, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.is.Retries++
}

// lives is how often an installer says something that has nothing new to say: who is waiting for it takes a longer silence
// for its death.
const lives = 15 * time.Second

// beat reports again and again until ctx ends.
func (r *reporter) beat(ctx context.Context) {
	tick := time.NewTicker(lives / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		r.mu.Lock()
		if r.now().Sub(r.last) >= lives {
			r.post(ctx)
		}
		r.mu.Unlock()
	}
}

// end says that all is done, or why it is not.
func (r *reporter) end(ctx context.Context, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.is.Done = err == nil; err != nil {
		r.is.Error, r.is.Log = err.Error(), r.log
	} else {
		r.is.Percent = 100
	}
	for range 3 { // this one matters
		if r.post(ctx) == nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(r.every):
		}
	}
}

// post tells where things stand. It is called with mu held.
func (r *reporter) post(ctx context.Context) error {
	r.last = r.now()
	if line := r.is.String(); line != r.said {
		r.said = line
		fmt.Fprintf(r.console, "labctl-install: %s\n", line)
	}
	if r.is.Phase == Network && r.is.Error == "" { // there is no way to anybody yet
		return nil
	}
	body, err := json.Marshal(r.is)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		fmt.Fprintf(r.console, "labctl-install: nobody takes reports: %v\n", err)
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
		return fmt.Errorf("%s answers %s: %s", r.url, resp.Status, strings.TrimSpace(string(text)))
	}
	return nil
}
