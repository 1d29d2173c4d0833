package view

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/engine/apply"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// terminal is a screen without end that understands what Progress writes; narrow lines wrap as on a real one.
type terminal struct {
	width  int
	rows   [][]rune
	x, y   int
	frames int
}

var escape1 = regexp.MustCompile(`^\x1b\[([0-9;?]*)([A-Za-z])`)

func (t *terminal) Write(b []byte) (int, error) {
	t.frames++
	for s := string(b); s != ""; {
		if m := escape1.FindStringSubmatch(s); m != nil {
			t.control(m[1], m[2])
			s = s[len(m[0]):]
			continue
		}
		r := []rune(s)[0]
		s = s[len(string(r)):]
		switch r {
		case '\n':
			t.x, t.y = 0, t.y+1
		case '\r':
			t.x = 0
		default:
			if t.x >= t.width {
				t.x, t.y = 0, t.y+1
			}
			t.put(r)
			t.x++
		}
	}
	return len(b), nil
}

func (t *terminal) put(r rune) {
	for len(t.rows) <= t.y {
		t.rows = append(t.rows, nil)
	}
	for len(t.rows[t.y]) <= t.x {
		t.rows[t.y] = append(t.rows[t.y], ' ')
	}
	t.rows[t.y][t.x] = r
}

func (t *terminal) control(arg, what string) {
	n, _ := strconv.Atoi(arg)
	switch what {
	case "A":
		t.y -= max(n, 1)
		if t.y < 0 {
			panic("above the top of the screen")
		}
	case "K", "J":
		for len(t.rows) <= t.y {
			t.rows = append(t.rows, nil)
		}
		t.rows[t.y] = t.rows[t.y][:min(t.x, len(t.rows[t.y]))]
		if what == "J" {
			t.rows = t.rows[:t.y+1]
		}
	case "m":
	default:
		panic("unknown escape code " + arg + what)
	}
}

func (t *terminal) String() string {
	var b strings.Builder
	for _, r := range t.rows {
		b.WriteString(strings.TrimRight(string(r), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// story is an apply of two machines; show is called at its turning points.
func story(p *Progress, now *time.Time, show func(string)) {
	ev := func(a provider.Addr, m string, act plan.Action, s apply.State, step *provider.Step, text string) {
		p.Event(apply.Event{Addr: a, Machine: m, Action: act, State: s, Step: step, Error: text})
	}
	pass := func(d time.Duration) { *now = now.Add(d) }
	image, lan := addr("image", "debian-12"), addr("network", "lan")
	ev(image, "", plan.Create, apply.Started, nil, "")
	ev(lan, "", plan.Create, apply.Started, nil, "")
	ev(lan, "", plan.Create, apply.Running, &provider.Step{Phase: "creating"}, "")
	for i := range 101 {
		ev(image, "", plan.Create, apply.Running, &provider.Step{Phase: "downloading", Done: int64(i) << 20, Total: 100 << 20}, "")
		pass(100 * time.Millisecond)
		if i == 43 {
			ev(lan, "", plan.Create, apply.Done, nil, "")
			show("a download")
		}
	}
	ev(image, "", plan.Create, apply.Running, &provider.Step{Phase: "verifying"}, "")
	ev(image, "", plan.Create, apply.Done, nil, "")
	for _, m := range []string{"web", "db"} {
		ev(addr("machine", m), m, plan.Replace, apply.Started, nil, "")
	}
	pass(75 * time.Second)
	ev(addr("machine", "web"), "web", plan.Replace, apply.Started, nil, "")
	ev(addr("machine", "web"), "web", plan.Replace, apply.Running, &provider.Step{Phase: "booting"}, "")
	ev(addr("machine", "web"), "web", plan.Replace, apply.Running, &provider.Step{Phase: "trying again"}, "the monitor does not answer")
	ev(addr("disk", "web/data"), "web", plan.Create, apply.Started, nil, "")
	p.Note("stopping: finishing what runs")
	show("two machines")
	ev(addr("disk", "web/data"), "web", plan.Create, apply.Done, nil, "")
	ev(addr("machine", "web"), "web", plan.Replace, apply.Failed, nil, "cannot create qemu.machine/web: no space left on device\nlast line of its log")
	ev(addr("guest", "web"), "web", plan.Create, apply.Skipped, nil, "not started: qemu.machine/web failed")
	ev(addr("machine", "db"), "db", plan.Replace, apply.Done, nil, "")
	ev(addr("machine", "db"), "db", plan.Replace, apply.Running, &provider.Step{Phase: "too late"}, "")
	show("the end")
}

func TestProgressTerminal(t *testing.T) {
	for _, width := range []int{100, 60, 24} {
		now := time.Unix(0, 0)
		screen := &terminal{width: width}
		p := newProgress(screen, ProgressOptions{Terminal: true, Color: true, Width: func() int { return width }}, func() time.Time { return now })
		var all strings.Builder
		story(p, &now, func(what string) {
			p.frame()
			before := screen.frames
			if p.frame(); screen.frames != before {
				t.Error("the same frame is drawn twice")
			}
			fmt.Fprintf(&all, "--- %s\n%s", what, screen)
		})
		close(p.gone) // no painter runs
		p.Close()
		fmt.Fprintf(&all, "--- closed\n%s", screen)
		golden(t, fmt.Sprintf("progress_%d", width), all.String())
	}
}

func TestProgressPlain(t *testing.T) {
	now := time.Unix(0, 0)
	var b bytes.Buffer
	p := newProgress(&b, ProgressOptions{}, func() time.Time { return now })
	close(p.gone)
	story(p, &now, func(string) {})
	p.Close()
	if strings.Contains(b.String(), "\x1b") {
		t.Error("escape codes, but no terminal")
	}
	golden(t, "progress_plain", b.String())
}

// TestProgressAsking: of machines that ask and are asked in turns, each phase is one line, and what fails.
func TestProgressAsking(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, ProgressOptions{}, time.Now)
	close(p.gone)
	p.Note(Testing([]string{"edge", "web"}, 1, 312, 2))
	for range 3 {
		for _, m := range []string{"edge", "web"} {
			e := apply.Event{Addr: addr("machine", m), Machine: m, Action: Ask, State: apply.Started}
			p.Event(e)
			for _, phase := range []string{"listening", "asking 156 questions"} {
				e.State, e.Step = apply.Running, &provider.Step{Phase: phase}
				p.Event(e)
			}
			e.State, e.Elapsed = apply.Done, time.Second
			if m == "web" && strings.Count(b.String(), "failed") == 0 {
				e.State, e.Error = apply.Failed, "it does not answer"
			}
			p.Event(e)
		}
	}
	p.Close()
	golden(t, "progress_asking", b.String())
}

// TestProgressNarrower shrinks the terminal between two frames: the wrapped block must go away whole.
func TestProgressNarrower(t *testing.T) {
	now := time.Unix(0, 0)
	width := 80
	screen := &terminal{width: 80}
	p := newProgress(screen, ProgressOptions{Terminal: true, Width: func() int { return width }}, func() time.Time { return now })
	for i := range 3 {
		m := fmt.Sprintf("machine-with-a-rather-long-name-%d", i)
		p.Event(apply.Event{Addr: addr("machine", m), Machine: m, Action: plan.Create, State: apply.Started})
		p.Event(apply.Event{Addr: addr("machine", m), Machine: m, State: apply.Running, Step: &provider.Step{Phase: "waiting for the guest to let us in"}})
	}
	p.frame()
	narrow := &terminal{width: 30} // what a terminal does that wraps its lines anew
	for _, r := range screen.rows[:screen.y] {
		_, _ = narrow.Write([]byte(strings.TrimRight(string(r), " ") + "\n"))
	}
	width, p.w = 30, narrow
	p.frame()
	if n := strings.Count(narrow.String(), "machine-"); n != 3 {
		t.Errorf("the block stands there %d times:\n%s", n, narrow)
	}
}

// TestProgressMany has more at work than fits: the block stays small.
func TestProgressMany(t *testing.T) {
	now := time.Unix(0, 0)
	screen := &terminal{width: 80}
	p := newProgress(screen, ProgressOptions{Terminal: true}, func() time.Time { return now })
	for i := range 50 {
		m := fmt.Sprintf("m%02d", i)
		p.Event(apply.Event{Addr: addr("machine", m), Machine: m, Action: plan.Create, State: apply.Started})
	}
	p.frame()
	if n := strings.Count(screen.String(), "\n"); n != mostRows {
		t.Errorf("%d lines, want %d:\n%s", n, mostRows, screen)
	}
	if !strings.Contains(screen.String(), "and 39 more") {
		t.Errorf("what is hidden is not told:\n%s", screen)
	}
}

// counter counts frames and may fail.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n++; c.n > 1000 {
		return 0, errors.New("nobody is looking")
	}
	return len(b), nil
}

// TestProgressConcurrent is for the race detector; it also counts frames, and closes twice.
func TestProgressConcurrent(t *testing.T) {
	c := &counter{}
	began := time.Now()
	p := NewProgress(c, ProgressOptions{Terminal: true})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			a := addr("machine", strconv.Itoa(i))
			p.Event(apply.Event{Addr: a, Machine: a.Name, State: apply.Started})
			for j := range 2000 {
				p.Event(apply.Event{Addr: a, Machine: a.Name, State: apply.Running, Step: &provider.Step{Phase: "x", Done: int64(j), Total: 2000}})
			}
			time.Sleep(250 * time.Millisecond)
			p.Event(apply.Event{Addr: a, Machine: a.Name, State: apply.Done})
		})
	}
	wg.Wait()
	p.Close()
	p.Close()
	p.Event(apply.Event{Addr: addr("machine", "late"), State: apply.Started})
	c.mu.Lock()
	defer c.mu.Unlock()
	if most := int(time.Since(began)/frameTime) + 2; c.n == 0 || c.n > most {
		t.Errorf("%d frames, at most %d are right", c.n, most)
	}
}
