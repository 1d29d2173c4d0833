package gcetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// linkBase begins all links in answers, wherever the server listens: that is what the real one does.
const (
	linkBase = "https://www.googleapis.com/compute/v1/"
	betaBase = "https://www.googleapis.com/compute/beta/"
)

// world is all that exists. Its user holds the server's lock.
type world struct {
	api     *api
	options Options
	kinds   map[string]*kind
	things  map[string]*thing
	ops     map[string]*operation
	due     []*operation          // that run, by the time they end
	asked   map[string]*operation // by requestId
	zones   map[string]*zone      // DNS
	ids     uint64
	ahead   time.Duration // of the real clock
}

// thing is a resource.
type thing struct {
	name    string // "projects/p/zones/z/instances/i"
	kind    *kind
	o       object
	state   state
	started time.Time // when an instance last began to run
	going   string    // the status of an instance on its way to another
	serial  string    // what an instance has printed
	made    []string  // disks that came with an instance
}

type state int

const (
	ready state = iota
	creating
	deleting
)

func newWorld(base string, o Options) *world {
	w := &world{api: newAPI(), options: o, kinds: map[string]*kind{}, things: map[string]*thing{}, ops: map[string]*operation{}, asked: map[string]*operation{}, ids: 4_000_000_000_000_000_000, zones: map[string]*zone{}}
	for _, k := range kinds() {
		w.kinds[k.collection] = k
	}
	w.stock()
	return w
}

// now is the time here.
func (w *world) now() time.Time { return time.Now().Add(w.ahead) }

func (w *world) stamp() string { return w.now().Format("2006-01-02T15:04:05.000-07:00") }

func (w *world) newID() string { w.ids += 7919; return strconv.FormatUint(w.ids, 10) }

// link is the URL that answers have for a name.
func (w *world) link(name string) string {
	if w.options.Beta && (strings.Contains(name, "/networks/") || strings.Contains(name, "/subnetworks/")) {
		return betaBase + name
	}
	return linkBase + name
}

// refer is the name that a full or partial URL means; "" is none.
func refer(project, url string) string {
	if i := strings.Index(url, "/projects/"); i >= 0 && strings.Contains(url, "://") {
		return url[i+1:]
	}
	switch head, _, _ := strings.Cut(url, "/"); head {
	case "projects":
		return url
	case "global", "zones", "regions":
		return "projects/" + project + "/" + url
	}
	return ""
}

// base is the last part of a name or URL.
func base(name string) string { return name[strings.LastIndex(name, "/")+1:] }

// scopeOf is the "zones/z" of a name.
func scopeOf(name string) string {
	parts := strings.Split(name, "/")
	if len(parts) > 3 && (parts[2] == "zones" || parts[2] == "regions") {
		return parts[2] + "/" + parts[3]
	}
	return "global"
}

func regionOf(zone string) string { return zone[:max(strings.LastIndex(zone, "-"), 0)] }

// find is the thing that field refers to with url: it must exist and be ready, and is then written as a full URL.
func (w *world) find(project, collection, field, url string) (*thing, *apiError) {
	name := refer(project, url)
	t := w.things[name]
	if t != nil && t.kind.collection == collection && t.state == ready {
		return t, nil
	}
	if t != nil && t.kind.collection == collection {
		return nil, notReady(name)
	}
	if name == "" {
		return nil, invalid(field, url, "The URL is malformed.")
	}
	k := w.kinds[collection]
	return nil, invalid(field, url, "The referenced %s resource cannot be found.", k.singular)
}

// of lists things of a collection, sorted by name.
func (w *world) of(collection string) []*thing {
	var out []*thing
	for _, t := range w.things {
		if t.kind.collection == collection {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *thing) int { return strings.Compare(a.name, b.name) })
	return out
}

// user is one of the things of these collections that has a link to name in it; "" is none.
func (w *world) user(name string, collections ...string) string {
	for _, c := range collections {
		for _, t := range w.of(c) {
			if t.name != name && mentions(t.o, name) {
				return t.name
			}
		}
	}
	return ""
}

func mentions(v any, name string) bool {
	switch x := v.(type) {
	case string:
		return strings.HasSuffix(x, "/"+name)
	case object:
		for _, y := range x {
			if mentions(y, name) {
				return true
			}
		}
	case []any:
		for _, y := range x {
			if mentions(y, name) {
				return true
			}
		}
	}
	return false
}

// fingerprint changes with what v holds.
func fingerprint(v any) string {
	b, _ := json.Marshal(v) // it came from JSON
	h := sha256.Sum256(b)
	return base64.StdEncoding.EncodeToString(h[:8])
}

// head fills in what every resource has.
func (w *world) head(t *thing) {
	t.o["kind"] = "compute#" + t.kind.singular
	t.o["id"] = w.newID()
	t.o["creationTimestamp"] = w.stamp()
	t.o["selfLink"] = w.link(t.name)
	switch scope, name, _ := strings.Cut(scopeOf(t.name), "/"); scope {
	case "zones":
		t.o["zone"] = w.link(join("projects", projectOf(t.name), "zones", name))
	case "regions":
		t.o["region"] = w.link(join("projects", projectOf(t.name), "regions", name))
	}
}

func projectOf(name string) string {
	parts := strings.SplitN(name, "/", 3)
	return parts[1]
}

// show is what an answer has of a thing.
func (w *world) show(t *thing) object {
	o := clone(t.o).(object)
	if t.kind.labels {
		o["labelFingerprint"] = fingerprint(t.o["labels"])
	}
	if t.kind.show != nil {
		t.kind.show(w, t, o)
	}
	return o
}

func checkName(field, name string) *apiError {
	if nameForm.MatchString(name) {
		return nil
	}
	return invalid(field, name, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
}

func checkLabels(field string, labels object) *apiError {
	if len(labels) > 64 {
		return invalid(field, fmt.Sprintf("%d labels", len(labels)), "There can be at most 64 labels.")
	}
	for k, v := range labels {
		s, _ := v.(string)
		if !labelKey.MatchString(k) || !labelValue.MatchString(s) {
			return invalid(field, k+"="+s, "Label keys start with a lowercase letter, and keys and values are at most 63 of lowercase letters, digits, underscores and dashes.")
		}
	}
	return nil
}
