package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// ProgressOptions say where progress is shown.
type ProgressOptions struct {
	Terminal bool       // the writer is a terminal that understands cursor movement
	Color    bool       // and colours
	Width    func() int // its columns now; nil is 80; called for every frame
}

// frameTime is the least time between two frames on a terminal.
const frameTime = 100 * time.Millisecond

// Progress shows the events of one run. On a terminal what is at work stands in a block at the bottom that is
// redrawn in place, at most ten times a second, and what is finished scrolls up; elsewhere every change of state or
// phase is a line. Its methods may be called from any goroutine.
type Progress struct {
	mu     sync.Mutex
	w      io.Writer
	o      ProgressOptions
	clock  func() time.Time
	active map[provider.Addr]*task
	order  []provider.Addr // of active, as they started
	ended  []string        // lines that have not been written yet
	block  block
	closed bool
	told   map[string]bool // the phases of asking, by machine: machines ask in turns, and of each phase one line is enough
	broken bool            // the writer has failed: nobody is looking
	stop   chan struct{}
	gone   chan struct{} // closed when the painter has returned
}

// task is one change at work.
type task struct {
	event  apply.Event
	since  time.Time
	phase  string
	step   provider.Step
	tenths int // of the download that have been told, where there is no terminal
}

// NewProgress starts showing on w; Close must be called.
func NewProgress(w io.Writer, o ProgressOptions) *Progress {
	p := newProgress(w, o, time.Now)
	if o.Terminal {
		go p.paint()
	} else {
		close(p.gone)
	}
	return p
}

func newProgress(w io.Writer, o ProgressOptions, clock func() time.Time) *Progress {
	return &Progress{w: w, o: o, clock: clock, active: map[provider.Addr]*task{}, told: map[string]bool{}, stop: make(chan struct{}), gone: make(chan struct{})}
}

// paint draws frames until Close.
func (p *Progress) paint() {
	defer close(p.gone)
	tick := time.NewTicker(frameTime)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mu.Lock()
			p.frame()
			p.mu.Unlock()
		case <-p.stop:
			return
		}
	}
}

// Event shows e. After Close it does nothing.
func (p *Progress) Event(e apply.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	switch e.State {
	case apply.Started:
		p.started(e)
	case apply.Running:
		p.running(e)
	default:
		p.finished(e)
	}
	if !p.o.Terminal {
		p.write(strings.Join(p.ended, ""))
		p.ended = nil
	}
}

// Note puts out a line between the events, e.g. that a run is being stopped: whoever writes to the same screen goes this
// way, or the block would be drawn over it.
func (p *Progress) Note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.end([]span{text(line)})
	if p.o.Terminal {
		p.frame()
		return
	}
	p.write(strings.Join(p.ended, ""))
	p.ended = nil
}

// Close writes what has not been written yet, takes the block away and returns when nothing writes any more.
func (p *Progress) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		<-p.gone
		return
	}
	p.closed = true
	p.active, p.order = map[provider.Addr]*task{}, nil
	if p.o.Terminal {
		p.frame()
	}
	close(p.stop)
	p.mu.Unlock()
	<-p.gone
}

func (p *Progress) started(e apply.Event) {
	t := p.active[e.Addr]
	if t != nil { // the second half of a replacement
		t.phase, t.step = "", provider.Step{}
		p.say(e, "deleted, making it again")
		return
	}
	p.active[e.Addr] = &task{event: e, since: p.clock(), phase: doing(e.Action)} // a provider that says the same says no news
	p.order = append(p.order, e.Addr)
	if e.Action != Ask { // whose phases say more
		p.say(e, doing(e.Action))
	}
}

func (p *Progress) running(e apply.Event) {
	t := p.active[e.Addr]
	if t == nil || e.Step == nil { // a sign of life after the end
		return
	}
	news := e.Step.Phase != t.phase || e.Error != ""
	if e.Step.Phase != t.phase {
		t.phase, t.tenths = e.Step.Phase, 0
	}
	t.step = *e.Step
	what := t.phase
	if t.step.Total > 0 {
		tenths := int(10 * share(t.step))
		news = news || tenths > t.tenths
		t.tenths = max(t.tenths, tenths)
		what += fmt.Sprintf(" %d%%", 10*tenths)
		if !t.step.Share {
			what += " of " + bytesText(t.step.Total)
		}
	}
	if e.Error != "" {
		what += " after: " + strings.Join(lines(e.Error), "; ")
	}
	if e.Action == Ask {
		key := e.Addr.String() + " " + t.phase
		news = news && !p.told[key]
		p.told[key] = true
	}
	if news {
		p.say(e, what)
	}
}

// share is how far a step with a Total is, from 0 to 1.
func share(s provider.Step) float64 { return max(0, min(float64(s.Done)/float64(s.Total), 1)) }

func (p *Progress) finished(e apply.Event) {
	t := p.active[e.Addr]
	took := e.Elapsed
	if t != nil && took == 0 {
		took = p.clock().Sub(t.since)
	}
	delete(p.active, e.Addr)
	for i, a := range p.order {
		if a == e.Addr {
			p.order = append(p.order[:i:i], p.order[i+1:]...)
			break
		}
	}
	if e.Action == Ask && e.State == apply.Done {
		return // a machine is asked several times, and what it answered is told at the end
	}
	sign, word, color := "✓", done(e.Action), green
	tail := " in " + elapsed(took)
	switch e.State {
	case apply.Failed:
		sign, word, color = "✗", "failed", alarm
		why := strings.Join(lines(e.Error), "; ")
		if _, rest, ok := strings.Cut(why, e.Addr.String()+": "); ok { // the line begins with the address already
			why = rest
		}
		tail = " after " + elapsed(took) + ": " + why
	case apply.Skipped:
		sign, word, color = "-", "skipped", yellow
		tail = ": " + strings.Join(lines(e.Error), "; ")
	}
	spans := []span{text(e.Addr.String() + ": "), {word, color}, text(tail)}
	if p.o.Terminal {
		spans = append([]span{{sign + " ", color}}, spans...)
	}
	p.end(spans)
}

// say puts out a line on its way, where there is no block that shows it.
func (p *Progress) say(e apply.Event, what string) {
	if !p.o.Terminal && what != "" {
		p.end([]span{text(e.Addr.String() + ": " + what)})
	}
}

// end queues a line that stays.
func (p *Progress) end(spans []span) {
	line := ""
	for _, s := range spans {
		s.text = clean(s.text)
		line += s.paint(p.o.Color)
	}
	p.ended = append(p.ended, line+"\n")
}

// write gives up showing, and nothing else, when the writer fails.
func (p *Progress) write(s string) {
	if s == "" || p.broken {
		return
	}
	_, err := io.WriteString(p.w, s)
	p.broken = err != nil
}

// What is shown like the actions of a plan although no plan has it: what a test does with a machine, but for its beginning
// and its end, what is done with a snapshot, and a start that no plan knows.
const (
	Ask     plan.Action = "ask"
	Take    plan.Action = "take"
	Restore plan.Action = "restore"
	Remove  plan.Action = "remove"
	Start   plan.Action = "start"
)

func doing(a plan.Action) string {
	switch a {
	case plan.Create:
		return "creating"
	case plan.Update:
		return "changing"
	case plan.Replace:
		return "replacing"
	case plan.Delete:
		return "deleting"
	case plan.Adopt:
		return "adopting"
	case plan.Release:
		return "releasing"
	case Ask:
		return "asking"
	case Take:
		return "taking"
	case Restore:
		return "restoring"
	case Remove:
		return "removing"
	case Start:
		return "starting over"
	}
	return string(a)
}

func done(a plan.Action) string {
	switch a {
	case plan.Create:
		return "created"
	case plan.Update:
		return "changed"
	case plan.Replace:
		return "replaced"
	case plan.Delete:
		return "deleted"
	case plan.Adopt:
		return "adopted"
	case plan.Release:
		return "released"
	case Take:
		return "taken"
	case Restore:
		return "restored"
	case Remove:
		return "removed"
	case Start:
		return "started"
	}
	return string(a)
}

// elapsed is d as people say it: tenths of a second only where it is short.
func elapsed(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return uptime(d)
}
