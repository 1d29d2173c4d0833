package gcetest

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// zone is a managed zone of Cloud DNS. What is in it changes at once; that a change or an operation is still pending only
// says that not every name server knows it yet.
type zone struct {
	o       object
	records map[string]object // by name and type
	pending map[string]pending
	applied int // changes so far
}

// pending is a change or an operation on its way.
type pending struct {
	o    object
	ends time.Time
	told bool // somebody was told that it is pending
}

// noContent is the answer without a body.
type noContent struct{}

// The limits of a zone that are held.
const (
	maxChange      = 1000 // record sets in one change
	maxDescription = 1024
)

// dns answers requests for Cloud DNS. There are no operations as compute has them: what cannot be done is refused at once.
func (w *world) dns(c call) (any, *apiError) {
	if c.project != w.options.Project {
		return nil, &apiError{HTTP: http.StatusForbidden, Reason: "forbidden", Text: "Forbidden"}
	}
	if strings.HasSuffix(c.method.id, ".list") && !w.lists(c.method) {
		return nil, unimplemented()
	}
	switch c.method.id {
	case "dns.projects.get":
		return object{"kind": "dns#project", "id": c.project, "number": "1", "quota": w.dnsQuota()}, nil
	case "dns.managedZones.create":
		return w.newZone(c)
	case "dns.managedZones.list":
		return w.listZones(c)
	}
	z := w.zones[c.vars["managedZone"]]
	if z == nil {
		return nil, dnsMissing("parameters.managedZone", c.vars["managedZone"])
	}
	switch c.method.id {
	case "dns.managedZones.get":
		return clone(z.o), nil
	case "dns.managedZones.patch":
		return w.patchZone(c, z)
	case "dns.managedZones.delete":
		for _, r := range z.records {
			if !z.apex(r) {
				return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "containerNotEmpty",
					Text: fmt.Sprintf("The resource named '%s' cannot be deleted because it contains one or more 'resource records'.", text(z.o, "name"))}
			}
		}
		delete(w.zones, text(z.o, "name"))
		return noContent{}, nil
	case "dns.changes.create":
		return w.changeRecords(c, z)
	case "dns.changes.get":
		return w.pending(z, c.vars["changeId"], "parameters.changeId")
	case "dns.managedZoneOperations.get":
		return w.pending(z, c.vars["operation"], "parameters.operation")
	case "dns.resourceRecordSets.get":
		if r := z.records[recordKey(c.vars["name"], c.vars["type"])]; r != nil {
			return clone(r), nil
		}
		return nil, dnsMissing("parameters.name", c.vars["name"]+" ("+c.vars["type"]+")")
	case "dns.resourceRecordSets.list":
		return w.listRecords(c, z)
	}
	return nil, unimplemented()
}

// dnsQuota is what a project may have of names.
func (w *world) dnsQuota() object {
	q := object{"kind": "dns#quota", "resourceRecordsPerRrset": 100.0, "rrsetAdditionsPerChange": float64(maxChange), "rrsetDeletionsPerChange": float64(maxChange)}
	for name, n := range map[string]float64{"managedZones": 10000, "rrsetsPerManagedZone": 10000, "networksPerManagedZone": 100} {
		q[name] = w.limit(name, n)
	}
	return q
}

func dnsMissing(field, name string) *apiError {
	return &apiError{HTTP: http.StatusNotFound, Reason: "notFound", Text: fmt.Sprintf("The '%s' resource named '%s' does not exist.", field, name)}
}

func dnsExists(field, name string) *apiError {
	return &apiError{HTTP: http.StatusConflict, Reason: "alreadyExists", Text: fmt.Sprintf("The resource '%s' named '%s' already exists", field, name)}
}

func dnsInvalid(field string, value any) *apiError {
	return &apiError{HTTP: http.StatusBadRequest, Reason: "invalid", Text: fmt.Sprintf("Invalid value for '%s': '%v'", field, value)}
}

func recordKey(name, kind string) string { return name + " " + kind }

// apex says whether a record set is one of the two without which there is no zone.
func (z *zone) apex(r object) bool {
	return r["name"] == z.o["dnsName"] && (r["type"] == "SOA" || r["type"] == "NS")
}

func (w *world) newZone(c call) (any, *apiError) {
	o, name := c.body, text(c.body, "name")
	at := "entity.managedZone."
	switch {
	case name == "" || text(o, "dnsName") == "" || text(o, "description") == "":
		return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "required", Text: "The '" + at + "name', 'dnsName' and 'description' parameters are required but one was missing."}
	case !nameForm.MatchString(name):
		return nil, dnsInvalid(at+"name", name)
	case !domainForm.MatchString(text(o, "dnsName")):
		return nil, dnsInvalid(at+"dnsName", o["dnsName"])
	case w.zones[name] != nil:
		return nil, dnsExists("entity.managedZone", name)
	}
	if q, ok := w.options.Quotas["managedZones"]; ok && float64(len(w.zones)) >= q {
		return nil, &apiError{HTTP: http.StatusForbidden, Reason: "quotaExceeded", Text: fmt.Sprintf("The quota limit '%g' for 'entity.managedZones' would be exceeded.", q)}
	}
	fill(o, "visibility", "public")
	if e := w.checkZone(o, name); e != nil {
		return nil, e
	}
	o["kind"], o["id"], o["creationTime"] = "dns#managedZone", w.newID(), w.stamp()
	server := "ns-gcp-private.googledomains.com."
	o["nameServers"] = []any{server}
	z := &zone{o: o, records: map[string]object{}, pending: map[string]pending{}}
	for kind, data := range map[string]string{"NS": server, "SOA": server + " cloud-dns-hostmaster.google.com. 1 21600 3600 259200 300"} {
		z.records[recordKey(text(o, "dnsName"), kind)] = object{"kind": "dns#resourceRecordSet", "name": o["dnsName"], "type": kind, "ttl": 21600.0, "rrdatas": []any{data}}
	}
	w.zones[name] = z
	return clone(o), nil
}

// checkZone judges what of a zone can change: its text, its labels, and who sees it.
func (w *world) checkZone(o object, name string) *apiError {
	at := "entity.managedZone."
	if len(text(o, "description")) > maxDescription {
		return dnsInvalid(at+"description", "...")
	}
	if e := checkLabels(at+"labels", sub(o, "labels")); e != nil {
		return e
	}
	networks := objects(sub(o, "privateVisibilityConfig"), "networks")
	if text(o, "visibility") == "public" && len(networks) > 0 {
		return dnsInvalid(at+"privateVisibilityConfig", "a public zone is seen by everybody")
	}
	for i, n := range networks {
		field, link := fmt.Sprintf("%sprivateVisibilityConfig.networks[%d].networkUrl", at, i), text(n, "networkUrl")
		if !strings.HasPrefix(link, "https://") {
			return dnsInvalid(field, link) // what compute takes, a path alone, is none here
		}
		vpc := w.things[refer("", link)]
		if vpc == nil || vpc.kind.collection != "networks" || vpc.state != ready {
			return dnsMissing(field, link)
		}
		for other, z := range w.zones {
			if other != name && z.o["dnsName"] == o["dnsName"] && mentions(z.o["privateVisibilityConfig"], vpc.name) {
				return &apiError{HTTP: http.StatusBadRequest, Reason: "invalid", Text: fmt.Sprintf("The network '%s' is already bound to a zone with the same dnsName: '%s'", link, other)}
			}
		}
	}
	return nil
}

func (w *world) patchZone(c call, z *zone) (any, *apiError) {
	next := clone(z.o).(object)
	for field, v := range c.body {
		switch field {
		case "description", "labels", "privateVisibilityConfig":
			next[field] = v
		case "name", "dnsName", "visibility":
			if v != z.o[field] {
				return nil, dnsInvalid("entity.managedZone."+field, v)
			}
		default:
			return nil, dnsInvalid("entity.managedZone."+field, v)
		}
	}
	if e := w.checkZone(next, text(z.o, "name")); e != nil {
		return nil, e
	}
	z.o = next
	return w.begun(z, newUUID(), object{"kind": "dns#operation", "type": "update"}), nil
}

// begun notes a change or an operation that takes its time to be known everywhere.
func (w *world) begun(z *zone, id string, o object) object {
	o["id"], o["startTime"] = id, w.stamp()
	z.pending[id] = pending{o: o, ends: w.now().Add(w.options.Latency)}
	answer, _ := w.pending(z, id, "")
	return answer.(object)
}

func (w *world) pending(z *zone, id, field string) (any, *apiError) {
	p, ok := z.pending[id]
	if !ok {
		return nil, dnsMissing(field, id)
	}
	o := clone(p.o).(object)
	o["status"] = "done"
	if !p.told || p.ends.After(w.now()) { // never at once: who does not ask again does not notice
		o["status"] = "pending"
	}
	p.told = true
	z.pending[id] = p
	return o, nil
}

func (w *world) listZones(c call) (any, *apiError) {
	var all []object
	for _, z := range w.zones {
		if name := c.query.Get("dnsName"); name == "" || name == z.o["dnsName"] {
			all = append(all, clone(z.o).(object))
		}
	}
	slices.SortFunc(all, func(a, b object) int { return strings.Compare(text(a, "name"), text(b, "name")) })
	return w.dnsPage(c, "dns#managedZonesListResponse", "managedZones", all)
}

func (w *world) listRecords(c call, z *zone) (any, *apiError) {
	name, kind := c.query.Get("name"), c.query.Get("type")
	if kind != "" && name == "" {
		return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "required", Text: "The 'parameters.name' parameter is required with 'parameters.type'."}
	}
	var all []object
	for _, r := range z.records {
		if (name == "" || r["name"] == name) && (kind == "" || r["type"] == kind) {
			all = append(all, clone(r).(object))
		}
	}
	slices.SortFunc(all, func(a, b object) int {
		return strings.Compare(recordKey(text(a, "name"), text(a, "type")), recordKey(text(b, "name"), text(b, "type")))
	})
	return w.dnsPage(c, "dns#resourceRecordSetsListResponse", "rrsets", all)
}

// dnsPage is a page as this API writes it: the list has the name of what is in it.
func (w *world) dnsPage(c call, kind, field string, all []object) (any, *apiError) {
	if n, err := strconv.Atoi(c.query.Get("maxResults")); err == nil && n > 500 {
		c.query.Set("maxResults", "500") // here that is no mistake
	}
	page, e := w.page(c, kind, all)
	if e != nil {
		return nil, e
	}
	out := object{"kind": kind}
	if items, ok := page["items"]; ok {
		out[field] = items
	}
	if next, ok := page["nextPageToken"]; ok {
		out["nextPageToken"] = next
	}
	return out, nil
}
