package gcetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// operation is a change that takes its time. What it does happens when it ends.
type operation struct {
	name    string // "projects/p/zones/z/operations/operation-..."
	request string // that asked for it, to tell a repetition from a mistake
	o       object
	ends    time.Time
	finish  func() *apiError // nil once done
	undo    func()           // if finish fails
}

// begin starts an operation on t. finish does the work; undo, if not nil, takes back what was done at once.
func (w *world) begin(c call, f *Fault, t *thing, finish func() *apiError, undo func()) object {
	scope := scopeOf(t.name)
	now := w.now()
	name := fmt.Sprintf("operation-%d-%s", now.UnixMilli(), newUUID())
	op := &operation{name: join("projects", c.project, scope, "operations", name), request: c.sign, ends: now.Add(w.options.Latency), finish: finish, undo: undo}
	if f != nil && f.Late && f.err != nil {
		op.finish = func() *apiError { return f.err }
	}
	verb := c.method.name()
	op.o = object{
		"kind": "compute#operation", "id": w.newID(), "name": name, "operationType": verb, "status": "RUNNING", "progress": 0.0,
		"user": "lab@lab-project.iam.gserviceaccount.com", "insertTime": w.stamp(), "startTime": w.stamp(),
		"targetLink": w.link(t.name), "targetId": t.o["id"], "selfLink": linkBase + op.name,
	}
	switch where, at, _ := strings.Cut(scope, "/"); where {
	case "zones":
		op.o["zone"] = linkBase + join("projects", c.project, "zones", at)
	case "regions":
		op.o["region"] = linkBase + join("projects", c.project, "regions", at)
	}
	if c.id != "" {
		op.o["clientOperationId"] = c.id
		w.asked[c.id] = op
	}
	w.ops[op.name] = op
	w.due = append(w.due, op)
	return clone(op.o).(object)
}

// pass lets time pass: operations that are due end, and instances whose time is up.
func (w *world) pass() {
	for len(w.due) > 0 && !w.due[0].ends.After(w.now()) {
		op := w.due[0]
		w.due = w.due[1:]
		op.end(w)
	}
	w.expire()
}

func (op *operation) end(w *world) {
	e := op.finish()
	op.finish = nil
	op.o["status"], op.o["progress"], op.o["endTime"] = "DONE", 100.0, w.stamp()
	if e == nil {
		return
	}
	op.o["error"] = e.inside()
	op.o["httpErrorStatusCode"] = e.HTTP
	op.o["httpErrorMessage"] = strings.ToUpper(http.StatusText(e.HTTP))
	if op.undo != nil {
		op.undo()
	}
}

// repeated is the operation that an equal request with the same requestId has begun.
func (w *world) repeated(c call) (object, *apiError) {
	op := w.asked[c.id]
	if c.id == "" || op == nil {
		return nil, nil
	}
	if op.request != c.sign {
		return nil, invalid("requestId", c.id, "The request ID was used for another request.")
	}
	return clone(op.o).(object), nil
}

// operations answers what is asked of them.
func (w *world) operations(c call) (any, *apiError) {
	prefix := join("projects", c.project, c.scope, "operations") + "/"
	if c.method.name() != "list" {
		op := w.ops[prefix+c.name]
		if op == nil {
			return nil, notFound(prefix + c.name)
		}
		return clone(op.o), nil
	}
	var all []object
	for _, op := range w.ops {
		if strings.HasPrefix(op.name, prefix) {
			all = append(all, clone(op.o).(object))
		}
	}
	slices.SortFunc(all, func(a, b object) int { return strings.Compare(text(a, "id"), text(b, "id")) })
	return w.page(c, "compute#operationList", all)
}

// waitFor is operations.wait: it answers when the operation is done, or after the limit.
func (s *Server) waitFor(ctx context.Context, rw http.ResponseWriter, c call) {
	limit := time.Now().Add(s.options.WaitLimit)
	for {
		s.mu.Lock()
		answer, cut := s.serve(c, nil)
		op, _ := answer.(object)
		next := limit
		if running := s.world.ops[join("projects", c.project, c.scope, "operations", c.name)]; running != nil {
			next = running.ends
		}
		wait := next.Sub(s.world.now())
		s.mu.Unlock()
		if cut {
			hangUp(rw)
			return
		}
		if op == nil || op["status"] == "DONE" || !time.Now().Before(limit) {
			write(rw, answer)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(max(wait, time.Millisecond), time.Until(limit)+time.Millisecond)):
		}
	}
}
