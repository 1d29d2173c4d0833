package rpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/labctl-dev/labctl/provider"
)

// steps is how many steps may wait for a reader; a provider that makes more of them loses some, rather than waiting, but
// none that has a note.
const steps = 64

// A verb is Create, Update or Delete.
type verb func(context.Context, provider.Provider, request, provider.Progress) error

func create(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	if r.Resource == nil {
		return missing("resource")
	}
	return p.Create(ctx, *r.Resource, f)
}

func update(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	if r.Resource == nil || r.Observed == nil {
		return missing("resource or no observed")
	}
	return p.Update(ctx, *r.Observed, *r.Resource, f)
}

func remove(ctx context.Context, p provider.Provider, r request, f provider.Progress) error {
	if r.Observed == nil {
		return missing("observed")
	}
	return p.Delete(ctx, *r.Observed, f)
}

// change is the method that runs a verb and streams its steps.
func (s *server) change(name string, v verb) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, ServerStreams: true, Handler: s.stream(name, func(r request, g grpc.ServerStream) error {
		p, err := s.get(r.Provider)
		if err != nil {
			return err
		}
		f := newFeed(g)
		defer f.close()
		return v(g.Context(), p, r, f.step)
	})}
}

// feed sends steps without ever making the provider wait.
type feed struct {
	done chan struct{}

	mu     sync.Mutex
	closed bool
	queue  chan provider.Step
	notes  []provider.Step // those that found the queue full
}

func newFeed(g grpc.ServerStream) *feed {
	f := &feed{queue: make(chan provider.Step, steps), done: make(chan struct{})}
	go func() {
		defer close(f.done)
		send := func(step provider.Step) {
			if m, err := encode(reply{Step: &step}); err == nil {
				_ = g.SendMsg(m) // an error means that nobody listens any more; the call's own end will say so
			}
		}
		for step := range f.queue {
			send(step)
		}
		for _, step := range f.notes { // there are no more since the queue was closed
			send(step)
		}
	}()
	return f
}

// step implements provider.Progress. It may come too late, from a goroutine that the provider forgot.
func (f *feed) step(s provider.Step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	select {
	case f.queue <- s:
	default:
		if s.Note != "" {
			f.notes = append(f.notes, s)
		}
	}
}

// close sends what is queued and returns when that is done.
func (f *feed) close() {
	f.mu.Lock()
	f.closed = true
	close(f.queue)
	f.mu.Unlock()
	<-f.done
}
