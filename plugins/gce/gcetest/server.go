package gcetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"
)

// Options are what a test wants of a server.
type Options struct {
	// Project that exists, beside those with public images; "" is "lab-project". Others are refused.
	Project string
	// Latency is how long operations take.
	Latency time.Duration
	// WaitLimit is how long operations.wait blocks before it answers with an operation that still runs; 0 is two minutes.
	WaitLimit time.Duration
	// PageSize is the most that a list answers at once whatever it was asked; 0 is 500.
	PageSize int
	// NoLists makes every list of these collections ("instances"; "*" is all) answer 501, as restricted endpoints do.
	NoLists []string
	// Quotas are limits by their metrics ("CPUS"), in place of what a young project has; these are held.
	Quotas map[string]float64
	// Beta makes selfLinks of networks and subnetworks name the beta version, as those of older things do.
	Beta bool
}

// Server is a running API. Its methods may be called at any time.
type Server struct {
	// URL is the base of the compute API, "http://127.0.0.1:PORT/compute/v1/". Cloud DNS is below DNSURL.
	URL, DNSURL string

	http    *httptest.Server
	options Options

	mu       sync.Mutex
	world    *world
	faults   []*Fault
	requests []Request
	changes  int // mutations so far, refused ones included
}

// New starts a server on a loopback port. Close ends it.
func New(o Options) *Server {
	if o.Project == "" {
		o.Project = "lab-project"
	}
	if o.WaitLimit == 0 {
		o.WaitLimit = 2 * time.Minute
	}
	if o.PageSize == 0 {
		o.PageSize = 500
	}
	s := &Server{options: o}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL + "/compute/v1/"
	s.DNSURL = s.http.URL + "/dns/v1/"
	s.world = newWorld(s.http.URL, o)
	return s
}

// Close ends the server; operations that run are forgotten.
func (s *Server) Close() { s.http.Close() }

// Project is the project that exists.
func (s *Server) Project() string { return s.options.Project }

// Request is one that the server got.
type Request struct {
	Method string         `json:"method"`
	Path   string         `json:"path"`            // from the project on: "global/networks/a"
	Query  string         `json:"query,omitempty"` // without requestId
	Body   map[string]any `json:"body,omitempty"`
	// Status is what was answered: 0 when the connection was cut.
	Status int `json:"status"`
}

// Mutates says whether the request asks for a change.
func (r Request) Mutates() bool {
	return r.Method != http.MethodGet && !strings.HasSuffix(r.Path, "/wait")
}

// Requests are all so far; those that operations are watched with are left out.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.requests...)
}

// Forget empties the list of requests.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		return
	}
	c, e := s.read(r, body)
	if e == nil && c.method.waits() {
		s.waitFor(r.Context(), w, c)
		return
	}
	s.mu.Lock()
	answer, cut := s.serve(c, e)
	if !strings.Contains(r.URL.Path, "/operations/") {
		s.note(r, body, answer, cut)
	}
	s.mu.Unlock()
	if cut {
		hangUp(w)
		return
	}
	write(w, answer)
}

// serve answers one request, faults first. The lock is held.
func (s *Server) serve(c call, e *apiError) (answer any, cut bool) {
	s.world.pass()
	if e != nil {
		return e, false
	}
	f := s.fault(c)
	if f != nil {
		if f.Cut == Before {
			return nil, true
		}
		if f.err != nil && !f.Late {
			return f.err, false
		}
	}
	answer, e = s.world.call(c, f)
	if e != nil {
		answer = e
	}
	return answer, f != nil && f.Cut == After
}

func (s *Server) note(r *http.Request, body []byte, answer any, cut bool) {
	q := r.URL.Query()
	q.Del("requestId")
	_, path, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/compute/v1/projects/"), "/dns/v1/projects/"), "/")
	n := Request{Method: r.Method, Path: path, Query: q.Encode(), Status: http.StatusOK}
	if len(body) > 0 {
		_ = json.Unmarshal(body, &n.Body) // what is no JSON was refused
	}
	if e, ok := answer.(*apiError); ok {
		n.Status = e.HTTP
	}
	if cut {
		n.Status = 0
	}
	s.requests = append(s.requests, n)
}

func write(w http.ResponseWriter, answer any) {
	if answer == (noContent{}) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if e, ok := answer.(*apiError); ok {
		w.WriteHeader(e.HTTP)
		answer = e.body()
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(answer) // the client is gone
}

// hangUp closes the connection without an answer.
func hangUp(w http.ResponseWriter) {
	h, ok := w.(http.Hijacker)
	if !ok {
		return
	}
	if c, _, err := h.Hijack(); err == nil {
		_ = c.Close()
	}
}

// newUUID is for operations.
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
