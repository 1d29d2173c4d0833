package gcetest

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	domainForm = regexp.MustCompile(`^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+$`)
	recordForm = regexp.MustCompile(`^(\*\.)?([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)+$`)
	textForm   = regexp.MustCompile(`^"([^"\\]|\\.){0,255}"( "([^"\\]|\\.){0,255}")*$`)
)

// changeRecords does all of a change or nothing of it.
func (w *world) changeRecords(c call, z *zone) (any, *apiError) {
	add, remove := objects(c.body, "additions"), objects(c.body, "deletions")
	if len(add)+len(remove) == 0 {
		return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "required", Text: "The 'entity.change' parameter is required but was missing."}
	}
	if len(add) > maxChange || len(remove) > maxChange {
		return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "quotaExceeded", Text: "The change is too large."}
	}
	next := map[string]object{}
	for k, r := range z.records {
		next[k] = r
	}
	for i, r := range remove {
		if e := z.take(next, r, fmt.Sprintf("entity.change.deletions[%d]", i)); e != nil {
			return nil, e
		}
	}
	for i, r := range add {
		if e := z.give(next, r, fmt.Sprintf("entity.change.additions[%d]", i)); e != nil {
			return nil, e
		}
	}
	for name := range next {
		if e := cnameAlone(next, name); e != nil {
			return nil, e
		}
	}
	for _, kind := range []string{"NS", "SOA"} {
		if next[recordKey(text(z.o, "dnsName"), kind)] == nil {
			return nil, &apiError{HTTP: http.StatusBadRequest, Reason: "invalidZoneApex", Text: fmt.Sprintf("The resource record set 'entity.change.deletions' is invalid because a zone must contain exactly one resource record set of type '%s' at the apex.", kind)}
		}
	}
	if limit, ok := w.options.Quotas["rrsetsPerManagedZone"]; ok && float64(len(next)) > limit {
		return nil, &apiError{HTTP: http.StatusForbidden, Reason: "quotaExceeded", Text: "The quota limit for 'entity.rrsets' would be exceeded."}
	}
	z.records = next
	z.applied++
	return w.begun(z, strconv.Itoa(z.applied), object{"kind": "dns#change", "additions": c.body["additions"], "deletions": c.body["deletions"]}), nil
}

// take removes a record set, which must be there exactly as the request says.
func (z *zone) take(from map[string]object, r object, field string) *apiError {
	key := recordKey(text(r, "name"), text(r, "type"))
	now := from[key]
	if now == nil {
		return dnsMissing(field, fmt.Sprintf("%s (%s)", r["name"], r["type"]))
	}
	if number(now, "ttl") != number(r, "ttl") || !slices.Equal(texts(now, "rrdatas"), texts(r, "rrdatas")) {
		return &apiError{HTTP: http.StatusPreconditionFailed, Reason: "conditionNotMet", Text: "Precondition not met for '" + field + "'"}
	}
	delete(from, key)
	return nil
}

// give adds a record set, of which there must be none.
func (z *zone) give(to map[string]object, r object, field string) *apiError {
	name, kind, data := text(r, "name"), text(r, "type"), texts(r, "rrdatas")
	apex := text(z.o, "dnsName")
	switch {
	case !recordForm.MatchString(name) || len(name) > 254 || name != apex && !strings.HasSuffix(name, "."+apex):
		return dnsInvalid(field+".name", name)
	case r["ttl"] == nil || number(r, "ttl") < 0:
		return dnsInvalid(field+".ttl", r["ttl"])
	case len(data) == 0 || len(data) > 100 || kind == "CNAME" && len(data) > 1:
		return dnsInvalid(field+".rrdatas", data)
	case to[recordKey(name, kind)] != nil:
		return dnsExists(field, fmt.Sprintf("%s (%s)", name, kind))
	}
	for i, d := range data {
		if !dataOf(kind, d) || slices.Contains(data[:i], d) {
			return dnsInvalid(fmt.Sprintf("%s.rrdatas[%d]", field, i), d)
		}
	}
	r["kind"] = "dns#resourceRecordSet"
	to[recordKey(name, kind)] = r
	return nil
}

// dataOf says whether a text is what a record of that type may say; names must be whole.
func dataOf(kind, data string) bool {
	words := strings.Fields(data)
	ends := func(words, numbers int, all []string) bool {
		if len(all) != words || !recordForm.MatchString(all[words-1]) {
			return false
		}
		for _, n := range all[:numbers] {
			if _, err := strconv.ParseUint(n, 10, 16); err != nil {
				return false
			}
		}
		return true
	}
	switch kind {
	case "A", "AAAA":
		a, err := netip.ParseAddr(data)
		return err == nil && a.Is4() == (kind == "A")
	case "CNAME", "PTR", "NS":
		return ends(1, 0, words)
	case "MX":
		return ends(2, 1, words)
	case "SRV":
		return ends(4, 3, words)
	case "TXT":
		return textForm.MatchString(data)
	case "CAA", "SOA":
		return len(words) >= 3
	}
	return false
}

// cnameAlone refuses another name for what has records of its own.
func cnameAlone(all map[string]object, key string) *apiError {
	name, kind, _ := strings.Cut(key, " ")
	if kind != "CNAME" {
		return nil
	}
	for other := range all {
		if n, k, _ := strings.Cut(other, " "); n == name && k != kind {
			return &apiError{HTTP: http.StatusBadRequest, Reason: "cnameResourceRecordSetConflict", Text: fmt.Sprintf(
				"The resource record set 'entity.change.additions' is invalid because the DNS name '%s' may have either one CNAME resource record set or resource record sets of other types, but not both.", name)}
		}
	}
	return nil
}
