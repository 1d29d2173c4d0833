package apply

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/provider"
)

// toy is a world that counts and checks what is done to it.
type toy struct {
	mu      sync.Mutex
	things  map[provider.Addr]provider.Observed
	calls   []string // "put machine/web", "remove disk/web/root", as they ended
	running int
	most    int // at once
	pause   time.Duration
	limit   time.Duration
	wrong   []string // broken rules
	// before, if set, is asked ahead of every call; its error ends the call.
	before func(ctx context.Context, call string, p provider.Progress) error
}

func newToy() *toy { return &toy{things: map[provider.Addr]provider.Observed{}, limit: time.Minute} }

func (t *toy) Deadline(plan.Change) time.Duration { return t.limit }

func (t *toy) Put(ctx context.Context, c plan.Change, p provider.Progress) error {
	return t.call(ctx, "put", c.Addr, p, func() {
		for _, n := range c.After.Needs {
			if _, ok := t.things[n]; !ok {
				t.wrong = append(t.wrong, fmt.Sprintf("%s is put before %s", c.Addr, n))
			}
		}
		_, exists := t.things[c.Addr]
		if exists != (c.Action == plan.Update) {
			t.wrong = append(t.wrong, fmt.Sprintf("%s %s, exists: %v", c.Action, c.Addr, exists))
		}
		t.things[c.Addr] = provider.Observed{Addr: c.Addr, Attrs: c.After.Attrs, Needs: c.After.Needs, Machine: c.After.Machine}
	})
}

func (t *toy) Remove(ctx context.Context, c plan.Change, p provider.Progress) error {
	return t.call(ctx, "remove", c.Addr, p, func() {
		for _, o := range t.things {
			for _, n := range o.Needs {
				if n == c.Addr && o.Addr != c.Addr && c.Action == plan.Delete {
					t.wrong = append(t.wrong, fmt.Sprintf("%s is deleted while %s holds on to it", c.Addr, o.Addr))
				}
			}
		}
		delete(t.things, c.Addr)
	})
}

func (t *toy) call(ctx context.Context, verb string, a provider.Addr, p provider.Progress, do func()) error {
	name := verb + " " + a.Kind + "/" + a.Name
	t.mu.Lock()
	t.running++
	t.most = max(t.most, t.running)
	t.mu.Unlock()
	defer func() { t.mu.Lock(); t.running--; t.mu.Unlock() }()
	if t.before != nil {
		if err := t.before(ctx, name, p); err != nil {
			return err
		}
	}
	time.Sleep(t.pause)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls = append(t.calls, name)
	do()
	return nil
}

func (t *toy) observed() []provider.Observed {
	var os []provider.Observed
	for _, o := range t.things {
		os = append(os, o)
	}
	return os
}

func at(s string) provider.Addr {
	kind, name, _ := strings.Cut(s, "/")
	return provider.Addr{Provider: "toy", Kind: kind, Name: name}
}

func addrs(ss []string) []provider.Addr {
	var as []provider.Addr
	for _, s := range ss {
		as = append(as, at(s))
	}
	return as
}

// create, update, replace and remove make changes; needs are addresses.
func create(a string, needs ...string) plan.Change {
	return plan.Change{Addr: at(a), Action: plan.Create, After: &provider.Resource{Addr: at(a), Needs: addrs(needs)}}
}

func remove(a string, needs ...string) plan.Change {
	return plan.Change{Addr: at(a), Action: plan.Delete, Before: &provider.Observed{Addr: at(a), Needs: addrs(needs)}}
}

func replace(a string, needs ...string) plan.Change {
	c := create(a, needs...)
	c.Action, c.Before = plan.Replace, &provider.Observed{Addr: at(a), Needs: addrs(needs)}
	return c
}

func update(a string, before, after []string) plan.Change {
	return plan.Change{Addr: at(a), Action: plan.Update, Before: &provider.Observed{Addr: at(a), Needs: addrs(before)}, After: &provider.Resource{Addr: at(a), Needs: addrs(after)}}
}

func planOf(cs ...plan.Change) plan.Plan {
	return plan.Plan{Lab: "quick", Target: "local", Changes: cs}
}

// seed puts the things that p's changes were made from into the world.
func (t *toy) seed(p plan.Plan) *toy {
	for _, c := range p.Changes {
		if c.Before != nil {
			t.things[c.Addr] = *c.Before
		}
		if c.After != nil {
			for _, n := range c.After.Needs {
				if _, ok := t.things[n]; !ok && !makes(p, n) {
					t.things[n] = provider.Observed{Addr: n}
				}
			}
		}
	}
	return t
}

func makes(p plan.Plan, a provider.Addr) bool {
	for _, c := range p.Changes {
		if c.Addr == a && c.Action != plan.Delete {
			return true
		}
	}
	return false
}

func follows(c plan.Change, firsts ...string) plan.Change {
	for _, f := range firsts {
		c.Follows = append(c.Follows, at(f))
	}
	return c
}
