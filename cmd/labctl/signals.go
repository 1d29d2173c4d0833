package main

import (
	"os"
	"os/signal"
	"sync"

	"golang.org/x/sys/unix"
)

// signals turns SIGINT and SIGTERM into the end of labctl: at once, or, while a plan is executed, first as a request to
// come to a good end.
type signals struct {
	mu     sync.Mutex
	stop   chan struct{} // not nil while a first signal only asks
	seen   int
	last   int // the number of the signal that was last seen
	cancel func()
	say    func(string)
	ch     chan os.Signal
	done   chan struct{}
}

// watchSignals begins; cancel ends everything, say tells the user.
func watchSignals(cancel func(), say func(string)) *signals {
	s := &signals{cancel: cancel, say: say, ch: make(chan os.Signal, 4), done: make(chan struct{})}
	signal.Notify(s.ch, unix.SIGINT, unix.SIGTERM)
	go func() {
		defer close(s.done)
		for sig := range s.ch {
			s.signal(sig)
		}
	}()
	return s
}

func (s *signals) close() {
	signal.Stop(s.ch)
	close(s.ch)
	<-s.done
}

func (s *signals) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen++
	if n, ok := sig.(unix.Signal); ok {
		s.last = int(n)
	}
	if s.stop != nil && s.seen == 1 {
		close(s.stop)
		s.say("stopping: finishing what runs; press again to abandon")
		return
	}
	if s.stop != nil {
		s.say("abandoned")
	}
	s.cancel()
}

// status is the exit status of a run that failed because of a signal, as shells count: 130 after SIGINT, 143 after
// SIGTERM; 0 where there was none.
func (s *signals) status() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == 0 {
		return 0
	}
	return 128 + s.last
}

// speak makes say the way to tell the user from now on; the function it returns makes it what it was.
func (s *signals) speak(say func(string)) (back func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.say
	s.say = say
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.say = was
	}
}

// graceful makes the first signal from now on close the returned channel instead of ending everything.
func (s *signals) graceful() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stop == nil {
		s.stop = make(chan struct{})
	}
	return s.stop
}
