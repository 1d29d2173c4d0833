package gcetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"
)

// Names are all things that somebody made, sorted, from the project on: "global/networks/a". Routes that come with
// networks are left out.
func (s *Server) Names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.pass()
	var out []string
	for name, t := range s.world.things {
		if t.kind.check != nil && projectOf(name) == s.options.Project && !(t.kind.collection == "routes" && automatic(t)) || t.kind.collection == "snapshots" {
			out = append(out, short(name))
		}
	}
	for name := range s.world.zones {
		out = append(out, "managedZones/"+name)
	}
	slices.Sort(out)
	return out
}

func short(name string) string { return strings.SplitN(name, "/", 3)[2] }

// Get is a thing as a GET would answer; nil if there is none.
func (s *Server) Get(name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.world.pass()
	if t := s.world.things["projects/"+s.options.Project+"/"+name]; t != nil {
		return s.world.show(t)
	}
	return nil
}

// Edit changes a thing behind everybody's back, whatever the API allows: change gets what is kept of it.
func (s *Server) Edit(name string, change func(o map[string]any)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.world.things["projects/"+s.options.Project+"/"+name]
	if t == nil {
		return fmt.Errorf("gcetest: there is no %s", name)
	}
	change(t.o)
	return nil
}

// Print adds to what an instance's serial console has printed.
func (s *Server) Print(instance, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.world.of("instances") {
		if base(t.name) == instance {
			t.serial += text
		}
	}
}

// Do sends a request, as somebody else who uses the project, and waits for its operation: path is as in Request. No
// fault concerns it, and it is not among the Requests. What the operation says went wrong is an error.
func (s *Server) Do(verb, path string, body map[string]any) (map[string]any, error) {
	var b []byte
	if body != nil {
		b, _ = json.Marshal(body) // maps of JSON values always encode
	}
	root := "/compute/v1/projects/"
	if strings.HasPrefix(path, "managedZones") { // of Cloud DNS: what this API does is done at once
		root = "/dns/v1/projects/"
	}
	r := httptest.NewRequest(verb, root+s.options.Project+"/"+path, bytes.NewReader(b))
	c, e := s.read(r, b)
	if e != nil {
		return nil, e
	}
	s.mu.Lock()
	s.world.pass()
	answer, e := s.world.call(c, nil)
	s.mu.Unlock()
	if e != nil {
		return nil, e
	}
	o, _ := answer.(object)
	if verb == http.MethodGet || strings.HasPrefix(path, "managedZones") {
		return o, nil
	}
	for {
		s.mu.Lock()
		s.world.pass()
		op := s.world.ops[refer("", text(o, "selfLink"))]
		done := op == nil || op.finish == nil
		s.mu.Unlock()
		if !done {
			time.Sleep(time.Millisecond)
			continue
		}
		if op != nil {
			for _, x := range objects(sub(op.o, "error"), "errors") {
				return nil, fmt.Errorf("%s: %s", text(x, "code"), text(x, "message"))
			}
		}
		return o, nil
	}
}
