package gcetest

import (
	"net/http"
	"strings"
)

// kind is a collection of the API.
type kind struct {
	collection, singular string
	labels               bool
	// early: others see a new one while it is being made.
	early bool
	// check judges and completes a new one. What it refuses is refused at once.
	check func(w *world, c call, t *thing) *apiError
	// settle, if any, is the end of an insert: what is only found out then is refused inside the operation.
	settle func(w *world, t *thing) *apiError
	// held, if any, refuses a deletion at once, and heldLate inside the operation.
	held, heldLate func(w *world, t *thing) *apiError
	gone           func(w *world, t *thing) // the rest of a deletion
	abandon        func(w *world, t *thing) // the rest of an insert that failed
	show           func(w *world, t *thing, o object)
	// verbs are the other methods.
	verbs map[string]verb
}

// verb does what a method of a thing does: what it returns is done when the operation ends. A nil function with a nil
// error is nothing to do.
type verb func(w *world, c call, t *thing) (finish func() *apiError, e *apiError)

// call answers a request that makes sense by itself.
func (w *world) call(c call, f *Fault) (any, *apiError) {
	if strings.HasPrefix(c.method.id, "dns.") {
		return w.dns(c)
	}
	if e := w.place(c); e != nil {
		return nil, e
	}
	if strings.HasSuffix(c.method.resource(), "Operations") {
		return w.operations(c)
	}
	if !w.lists(c.method) {
		return nil, unimplemented()
	}
	switch c.method.name() {
	case "list", "aggregatedList":
		return w.list(c)
	case "get":
		return w.get(c)
	case "getFromFamily":
		return w.family(c)
	case "getSerialPortOutput":
		return w.serial(c)
	}
	if op, e := w.repeated(c); op != nil || e != nil {
		return op, e
	}
	switch c.method.name() {
	case "insert":
		return w.insert(c, f)
	case "delete":
		return w.remove(c, f)
	}
	return w.change(c, f)
}

// place refuses projects, zones and regions that are not.
func (w *world) place(c call) *apiError {
	if c.project != w.options.Project && !public(c.project) || public(c.project) && c.method.verb != http.MethodGet {
		return &apiError{HTTP: http.StatusForbidden, Reason: "forbidden", Text: "Required 'compute." + c.method.id + "' permission for 'projects/" + c.project + "'"}
	}
	where, at, _ := strings.Cut(c.scope, "/")
	if at == "" {
		return nil
	}
	if w.things[join("projects", w.options.Project, where, at)] == nil {
		return invalid(strings.TrimSuffix(where, "s"), at, "Unknown %s.", strings.TrimSuffix(where, "s"))
	}
	return nil
}

func (w *world) get(c call) (any, *apiError) {
	if c.method.resource() == "projects" {
		name := "projects/" + c.project
		return object{"kind": "compute#project", "name": c.project, "id": "1", "selfLink": linkBase + name, "defaultNetworkTier": "PREMIUM", "quotas": w.quotas("")}, nil
	}
	t := w.things[c.target()]
	if t == nil || t.state == creating && !t.kind.early {
		return nil, notFound(c.target())
	}
	o := w.show(t)
	if c.method.resource() == "regions" {
		o["quotas"] = w.quotas(base(t.name))
	}
	return o, nil
}

func (w *world) insert(c call, f *Fault) (any, *apiError) {
	k := w.kinds[c.method.resource()]
	name := text(c.body, "name")
	if name == "" {
		return nil, required("resource.name")
	}
	if e := checkName("resource.name", name); e != nil {
		return nil, e
	}
	c.name = name
	t := &thing{name: c.target(), kind: k, o: c.body, state: creating}
	if w.things[t.name] != nil {
		return nil, exists(t.name)
	}
	if k.labels {
		if e := checkLabels("resource.labels", sub(t.o, "labels")); e != nil {
			return nil, e
		}
	}
	if e := k.check(w, c, t); e != nil {
		return nil, e
	}
	w.head(t)
	w.things[t.name] = t
	finish := func() *apiError {
		if e := w.exceeded(t); e != nil {
			return e
		}
		if k.settle != nil {
			if e := k.settle(w, t); e != nil {
				return e
			}
		}
		t.state = ready
		return nil
	}
	return w.begin(c, f, t, finish, func() {
		delete(w.things, t.name)
		if k.abandon != nil {
			k.abandon(w, t)
		}
	}), nil
}

// existing is the thing that c is about, if nothing else is being done to it.
func (w *world) existing(c call) (*thing, *apiError) {
	t := w.things[c.target()]
	switch {
	case t == nil || t.state == creating && !t.kind.early:
		return nil, notFound(c.target())
	case t.state != ready:
		return nil, notReady(t.name)
	}
	return t, nil
}

func (w *world) remove(c call, f *Fault) (any, *apiError) {
	t, e := w.existing(c)
	if e != nil {
		return nil, e
	}
	k := t.kind
	if k.held != nil {
		if e := k.held(w, t); e != nil {
			return nil, e
		}
	}
	t.state = deleting
	finish := func() *apiError {
		if k.heldLate != nil {
			if e := k.heldLate(w, t); e != nil {
				return e
			}
		}
		delete(w.things, t.name)
		if k.gone != nil {
			k.gone(w, t)
		}
		return nil
	}
	return w.begin(c, f, t, finish, func() { t.state = ready }), nil
}

func (w *world) change(c call, f *Fault) (any, *apiError) {
	t, e := w.existing(c)
	if e != nil {
		return nil, e
	}
	do := t.kind.verbs[c.method.name()]
	if do == nil {
		return nil, unimplemented()
	}
	finish, e := do(w, c, t)
	if e != nil {
		return nil, e
	}
	done := func() *apiError { t.going = ""; return finish() }
	return w.begin(c, f, t, done, func() { t.going = "" }), nil
}

// set changes fields when the operation ends.
func set(t *thing, fields object) func() *apiError {
	return func() *apiError {
		for name, v := range fields {
			t.o[name] = v
		}
		return nil
	}
}

// setLabels is the method of that name, of all kinds that have it.
func setLabels(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	labels := sub(c.body, "labels")
	if text(c.body, "labelFingerprint") != fingerprint(t.o["labels"]) {
		return nil, stale("Labels fingerprint either invalid or resource labels have changed")
	}
	if e := checkLabels("labels", labels); e != nil {
		return nil, e
	}
	if len(labels) == 0 {
		return func() *apiError { delete(t.o, "labels"); return nil }, nil
	}
	return set(t, object{"labels": labels}), nil
}

// patch puts the fields that may be changed over those of t, and judges the result.
func patch(allowed []string, check func(w *world, c call, t *thing) *apiError) verb {
	return func(w *world, c call, t *thing) (func() *apiError, *apiError) {
		next := &thing{name: t.name, kind: t.kind, o: clone(t.o).(object), state: ready}
		for name, v := range c.body {
			if !contains(allowed, name) {
				if same(w, c.project, v, t.o[name]) {
					continue
				}
				return nil, invalid("resource."+name, v, "%s cannot be changed.", name)
			}
			next.o[name] = v
		}
		if e := check(w, c, next); e != nil {
			return nil, e
		}
		return func() *apiError { t.o = next.o; return nil }, nil
	}
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

// same compares what a request says with what is there: a partial URL with a full one.
func same(_ *world, project string, a, b any) bool {
	x, ok1 := a.(string)
	y, ok2 := b.(string)
	if ok1 && ok2 && x != y {
		return refer(project, x) != "" && refer(project, x) == refer(project, y)
	}
	return fingerprint(a) == fingerprint(b)
}
