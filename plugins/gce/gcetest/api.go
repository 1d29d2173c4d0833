package gcetest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// object is a JSON object.
type object = map[string]any

// descriptions are the distilled discovery documents.
var (
	//go:embed api.json
	computeAPI []byte
	//go:embed dns.json
	dnsAPI []byte
)

// api is what requests may say.
type api struct {
	methods []*method
	schemas map[string]object
}

type method struct {
	id, verb string
	path     []string // "{zone}" is any
	query    map[string]string
	request  string // schema
}

func (m *method) resource() string { r, _, _ := strings.Cut(m.id, "."); return r }
func (m *method) name() string     { _, n, _ := strings.Cut(m.id, "."); return n }
func (m *method) waits() bool      { return strings.HasSuffix(m.id, "Operations.wait") }

func newAPI() *api {
	a := &api{schemas: map[string]object{}}
	a.add(computeAPI)
	a.add(dnsAPI)
	return a
}

// add takes in one of the descriptions; none of their schemas have the same name.
func (a *api) add(description []byte) {
	var d struct {
		Methods map[string]struct {
			Method, Path, Request string
			Query                 []string
		}
		Schemas map[string]object
	}
	if err := json.Unmarshal(description, &d); err != nil {
		panic(fmt.Sprintf("api.json: %v", err)) // embedded: a mistake of whoever distilled it
	}
	maps.Copy(a.schemas, d.Schemas)
	for id, m := range d.Methods {
		n := &method{id: id, verb: m.Method, path: strings.Split(m.Path, "/"), request: m.Request, query: map[string]string{}}
		for _, q := range m.Query {
			name, kind, _ := strings.Cut(q, " ")
			n.query[name] = kind
		}
		a.methods = append(a.methods, n)
	}
}

// find is the method of a request below projects/, and the values of its path's variables. Words win over variables.
func (a *api) find(verb, path string) (*method, map[string]string) {
	parts := strings.Split(path, "/")
	var best *method
	var vars map[string]string
	for _, m := range a.methods {
		v, ok := m.match(verb, parts)
		if ok && (best == nil || len(v) < len(vars)) {
			best, vars = m, v
		}
	}
	return best, vars
}

func (m *method) match(verb string, parts []string) (map[string]string, bool) {
	if m.verb != verb || len(m.path) != len(parts) {
		return nil, false
	}
	vars := map[string]string{}
	for i, p := range m.path {
		if name, ok := strings.CutPrefix(p, "{"); ok {
			vars[strings.TrimSuffix(name, "}")] = parts[i]
		} else if p != parts[i] {
			return nil, false
		}
	}
	return vars, true
}

// call is a request that makes sense by itself.
type call struct {
	method  *method
	project string
	scope   string // "global", "zones/Z", "regions/R"; "" for what is in none
	name    string // of the resource, "" for collections
	vars    map[string]string
	query   url.Values
	body    object
	id      string // requestId
	sign    string // tells the request from others
}

// target is the name of the thing that is asked for.
func (c call) target() string {
	return join("projects", c.project, c.scope, c.method.resource(), c.name)
}

func join(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "/")
}

var (
	uuidForm   = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	nameForm   = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)
	labelKey   = regexp.MustCompile(`^\p{Ll}[\p{Ll}0-9_-]{0,62}$`)
	labelValue = regexp.MustCompile(`^[\p{Ll}0-9_-]{0,63}$`)
)

const zeroUUID = "00000000-0000-0000-0000-000000000000"

// read makes a call of a request.
func (s *Server) read(r *http.Request, body []byte) (call, *apiError) {
	path, ok := strings.CutPrefix(r.URL.Path, "/compute/v1/")
	if dns, is := strings.CutPrefix(r.URL.Path, "/dns/v1/"); is {
		path, ok = "dns/"+dns, true
	}
	m, vars := s.world.api.find(r.Method, path)
	if !ok || m == nil {
		return call{}, &apiError{HTTP: http.StatusNotFound, Reason: "notFound", Text: fmt.Sprintf("The requested URL %s was not found on this server.", r.URL.Path)}
	}
	c := call{method: m, project: vars["project"], vars: vars, query: r.URL.Query()}
	if e := m.checkQuery(c.query); e != nil {
		return c, e
	}
	switch {
	case vars["zone"] != "" && m.resource() != "zones":
		c.scope = "zones/" + vars["zone"]
	case vars["region"] != "" && m.resource() != "regions":
		c.scope = "regions/" + vars["region"]
	case slices.Contains(m.path, "global"):
		c.scope = "global"
	}
	for i := len(m.path) - 1; i > 2 && c.name == ""; i-- { // the last variable that is not the scope
		v := strings.Trim(m.path[i], "{}")
		if v != m.path[i] && (c.scope == "" || "{"+v+"}" != m.path[3]) {
			c.name = vars[v]
		}
	}
	c.id = c.query.Get("requestId")
	if c.id != "" && (!uuidForm.MatchString(c.id) || c.id == zeroUUID) {
		return c, invalid("requestId", c.id, "Must be a valid UUID.")
	}
	var e *apiError
	c.body, e = s.world.api.readBody(m, body)
	q := r.URL.Query()
	q.Del("requestId")
	c.sign = r.Method + " " + r.URL.Path + "?" + q.Encode() + " " + string(body)
	return c, e
}

func (m *method) checkQuery(q url.Values) *apiError {
	for name, values := range q {
		kind, ok := m.query[name]
		if !ok && (name == "alt" || name == "prettyPrint" || name == "fields") {
			continue
		}
		if !ok {
			return badRequest("Invalid JSON payload received. Unknown name %q: Cannot bind query parameter. Field '%s' could not be found in request message.", name, name)
		}
		_, asInt := strconv.Atoi(values[0])
		_, asBool := strconv.ParseBool(values[0])
		if kind == "integer" && asInt != nil || kind == "boolean" && asBool != nil {
			return badRequest("Invalid value at '%s' (TYPE_%s), %q", name, strings.ToUpper(kind), values[0])
		}
	}
	return nil
}

func (a *api) readBody(m *method, body []byte) (object, *apiError) {
	if m.request == "" {
		if len(body) > 0 && strings.TrimSpace(string(body)) != "{}" {
			return nil, badRequest("Invalid JSON payload received. Unknown name \"\": Root element must be a message.")
		}
		return object{}, nil
	}
	if len(body) == 0 {
		return nil, required("resource")
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "parseError", Text: "Parse Error"}
	}
	o, e := a.check("@"+m.request, v, "resource")
	if e != nil {
		return nil, e
	}
	return o.(object), nil
}
