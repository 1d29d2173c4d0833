package gcetest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// lists says whether m answers at all: lists can be switched off.
func (w *world) lists(m *method) bool {
	if m.verb != http.MethodGet || !strings.HasSuffix(m.id, ".list") && m.name() != "aggregatedList" {
		return true
	}
	return !slices.Contains(w.options.NoLists, m.resource()) && !slices.Contains(w.options.NoLists, "*")
}

func (w *world) list(c call) (any, *apiError) {
	collection := c.method.resource()
	keep, e := parseFilter(c.query.Get("filter"))
	if e != nil {
		return nil, e
	}
	all := c.method.name() == "aggregatedList"
	var found []object
	for _, t := range w.of(collection) {
		switch {
		case t.state == creating && !t.kind.early:
		case projectOf(t.name) != c.project:
		case !all && scopeOf(t.name) != scopeOr(c.scope):
		default:
			if o := w.show(t); keep(o) {
				found = append(found, o)
			}
		}
	}
	k := w.kinds[collection].singular
	if !all {
		return w.page(c, "compute#"+k+"List", found)
	}
	answer, e := w.page(c, "compute#"+k+"AggregatedList", found)
	if e != nil {
		return nil, e
	}
	answer["items"] = w.scoped(collection, objects(answer, "items"))
	return answer, nil
}

func scopeOr(s string) string {
	if s == "" {
		return "global"
	}
	return s
}

// page cuts a list as maxResults and pageToken want it.
func (w *world) page(c call, kind string, all []object) (object, *apiError) {
	size, from := w.options.PageSize, 0
	if n, err := strconv.Atoi(c.query.Get("maxResults")); err == nil {
		if n < 0 || n > 500 {
			return nil, invalid("maxResults", n, "Must be between 0 and 500.")
		}
		size = min(size, max(n, 1))
	}
	if token := c.query.Get("pageToken"); token != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(token, "page"))
		if err != nil || n < 0 || n > len(all) {
			return nil, invalid("pageToken", token, "The page token is malformed.")
		}
		from = n
	}
	path := join("projects", c.project, c.scope, c.method.resource())
	answer := object{"kind": kind, "id": path, "selfLink": linkBase + path}
	to := min(from+size, len(all))
	if to > from {
		items := make([]any, 0, to-from)
		for _, o := range all[from:to] {
			items = append(items, o)
		}
		answer["items"] = items
	}
	if to < len(all) {
		answer["nextPageToken"] = "page" + strconv.Itoa(to)
	}
	return answer, nil
}

// scoped sorts what an aggregated list found by where it is; empty places are there with a warning.
func (w *world) scoped(collection string, found []object) object {
	out := object{}
	where := "zones"
	if slices.Contains([]string{"subnetworks", "routers", "addresses"}, collection) {
		where = "regions"
	}
	for _, t := range w.of(where) {
		if projectOf(t.name) != w.options.Project {
			continue
		}
		scope := where + "/" + base(t.name)
		var items []any
		for _, o := range found {
			if scopeOf(refer("", text(o, "selfLink"))) == scope {
				items = append(items, o)
			}
		}
		if len(items) > 0 {
			out[scope] = object{collection: items}
			continue
		}
		out[scope] = object{"warning": object{"code": "NO_RESULTS_ON_PAGE", "message": "There are no results for scope '" + scope + "' on this page.", "data": []any{object{"key": "scope", "value": scope}}}}
	}
	return out
}
