package gcetest

import (
	"net/http"
	"strings"
)

// Fault is something that goes wrong, once or a number of times.
type Fault struct {
	// Method ("instances.insert"; "*.insert", "instances.*") says which requests; "" is every mutation.
	Method string
	Name   string // of the resource that is asked for; "" is any
	After  int    // how many of these are let through first
	Times  int    // how many go wrong then; 0 is one, -1 all
	// Late puts the error into the operation instead of the answer; nothing has happened then.
	Late  bool
	Error Kind
	Cut   Moment // the connection is cut instead of answered
	// Hook, if set, is called instead, before anything has happened and without the server's lock held by it: a place to
	// kill the client, or to change the world behind its back.
	Hook func(method, name string)

	err *apiError
}

// Kind is a kind of error that a Fault can be.
type Kind string

// The kinds. The last two are always late.
const (
	RateLimited  Kind = "rateLimitExceeded" // 403, as bursts get it
	QuotaReached Kind = "quotaExceeded"     // 403 or QUOTA_EXCEEDED: no more of something in the region
	Backend      Kind = "backendError"      // 503
	Forbidden    Kind = "forbidden"         // 403: no permission
	Stale        Kind = "conditionNotMet"   // 412
	Busy         Kind = "resourceNotReady"  // 400
	Exhausted    Kind = "ZONE_RESOURCE_POOL_EXHAUSTED"
	Broken       Kind = "INTERNAL_ERROR"
)

// Moment is when a connection is cut.
type Moment string

// The moments: before the request had any effect, or after.
const (
	Before Moment = "before"
	After  Moment = "after"
)

// Inject adds a fault.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	f.err = f.Error.error(f.Name)
	f.Late = f.Late || f.Error == Exhausted || f.Error == Broken
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Mutations is how many requests for changes there were so far.
func (s *Server) Mutations() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// fault is what goes wrong with c.
func (s *Server) fault(c call) *Fault {
	mutates := c.method.verb != http.MethodGet
	if mutates {
		s.changes++
	}
	for i := 0; i < len(s.faults); i++ {
		f := s.faults[i]
		if !f.concerns(c, mutates) {
			continue
		}
		if f.After > 0 {
			f.After--
			continue
		}
		switch f.Times {
		case -1:
		case 1:
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		default:
			f.Times--
		}
		if f.Hook != nil {
			s.mu.Unlock()
			f.Hook(c.method.id, c.name)
			s.mu.Lock()
			return nil
		}
		return f
	}
	return nil
}

func (f *Fault) concerns(c call, mutates bool) bool {
	if f.Method == "" {
		return mutates && (f.Name == "" || f.Name == c.name)
	}
	wr, wm, _ := strings.Cut(f.Method, ".")
	r, m, _ := strings.Cut(c.method.id, ".")
	return (wr == "*" || wr == r) && (wm == "*" || wm == m) && (f.Name == "" || f.Name == c.name)
}

// error is what a fault of that kind says; nil for a fault without.
func (k Kind) error(name string) *apiError {
	switch k {
	case "":
		return nil
	case RateLimited:
		return &apiError{HTTP: http.StatusForbidden, Reason: string(k), Code: "RATE_LIMIT_EXCEEDED", Text: "Quota exceeded for quota group 'default' and limit 'Queries per minute' of service 'compute.googleapis.com' for consumer 'project_number:1'."}
	case QuotaReached:
		return &apiError{HTTP: http.StatusForbidden, Reason: string(k), Code: "QUOTA_EXCEEDED", Text: "Quota 'CPUS' exceeded.  Limit: 8.0 in region europe-west1."}
	case Backend:
		return &apiError{HTTP: http.StatusServiceUnavailable, Reason: string(k), Code: "INTERNAL_ERROR", Text: "Backend Error"}
	case Forbidden:
		return &apiError{HTTP: http.StatusForbidden, Reason: string(k), Code: "PERMISSIONS_ERROR", Text: "Required 'compute.instances.create' permission for 'projects/lab-project'"}
	case Stale:
		return stale("Supplied fingerprint does not match current metadata fingerprint.")
	case Busy:
		return notReady(name)
	case Exhausted:
		return &apiError{HTTP: http.StatusServiceUnavailable, Code: string(k), Text: "The zone does not have enough resources available to fulfill the request.  Try a different zone, or try again later."}
	}
	return &apiError{HTTP: http.StatusInternalServerError, Code: string(Broken), Text: "Internal error. Please try again or contact Google Support. (Code: '5F5A5B5C5D5E')"}
}
