package serve

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/install"
)

// mostReport bounds a report, in bytes.
const mostReport = 1 << 20

func (s *Server) report(w http.ResponseWriter, r *http.Request) {
	t, ok := s.target(r.PathValue("mac"))
	if !ok {
		unknown(w, r)
		return
	}
	var x install.Report
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostReport)).Decode(&x); err != nil {
		http.Error(w, "the report is not readable: "+err.Error(), http.StatusBadRequest)
		return
	}
	x.Machine = t.Machine // it may not know yet
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.heard[t.MAC]
	s.heard[t.MAC] = Status{MAC: t.MAC, Report: x, When: time.Now()}
	if x.Phase != before.Phase || x.Error != before.Error || x.Done != before.Done { // percents are worth no writing
		s.save()
	}
	w.WriteHeader(http.StatusNoContent)
}

// Status is the last that was heard of each machine, by machine. One that nothing was heard of is absent.
func (s *Server) Status() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []Status{}
	for _, h := range s.heard {
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Status) int { return cmp.Or(cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.MAC, b.MAC)) })
	return all
}

func (s *Server) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Status())
}

// load reads what keep has kept; nothing is what cannot be read.
func load[V any](file string) map[string]V {
	m := map[string]V{}
	if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &m) != nil {
		return map[string]V{}
	}
	return m
}

// keep writes what is known by MAC.
func keep[V any](file string, m map[string]V) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}

// shellsEnd ends the name of the file of who gets a shell.
const shellsEnd = ".shells"

// save keeps what was heard. It is called with mu held. A server that cannot write goes on: what is lost is what machines
// that are done have reported.
func (s *Server) save() { _ = keep(s.file, s.heard) }
