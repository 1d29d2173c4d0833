package gcetest

import (
	"fmt"
	"slices"
)

func instances() *kind {
	return &kind{
		collection: "instances", singular: "instance", labels: true, early: true,
		check:  checkInstance,
		settle: settleInstance,
		held: func(_ *world, t *thing) *apiError {
			if yes(t.o, "deletionProtection") {
				return &apiError{HTTP: 400, Reason: "resourceIsProtected", Code: "RESOURCE_PROTECTED", Text: fmt.Sprintf("Invalid resource usage: 'Resource cannot be deleted if it's protected against deletion. Deletion protection of '%s' must be off.'.", t.name)}
			}
			return nil
		},
		gone: func(w *world, t *thing) {
			for _, d := range objects(t.o, "disks") {
				if yes(d, "autoDelete") {
					delete(w.things, refer("", text(d, "source")))
				}
			}
		},
		abandon: func(w *world, t *thing) {
			for _, name := range t.made {
				delete(w.things, name)
			}
		},
		show:  showInstance,
		verbs: instanceVerbs(),
	}
}

func showInstance(_ *world, t *thing, o object) {
	if t.state == deleting {
		o["status"] = "STOPPING"
	} else if t.going != "" {
		o["status"] = t.going
	}
	o["fingerprint"] = fingerprint(t.o)
	sub(o, "metadata")["fingerprint"] = fingerprint(sub(t.o, "metadata")["items"])
	sub(o, "tags")["fingerprint"] = fingerprint(sub(t.o, "tags")["items"])
	for i, n := range objects(o, "networkInterfaces") {
		n["fingerprint"] = fingerprint(objects(t.o, "networkInterfaces")[i])
	}
	if d := runTime(t.o); d > 0 && !t.started.IsZero() {
		o["resourceStatus"] = object{"scheduling": object{"terminationTimestamp": t.started.Add(d).Format("2006-01-02T15:04:05.000-07:00")}}
	}
}

// checkInstance judges and completes what an instance asks for, and makes the disks that it describes.
func checkInstance(w *world, c call, t *thing) *apiError {
	o := t.o
	if text(o, "machineType") == "" {
		return required("resource.machineType")
	}
	m, e := w.findMachineType(c.project, "resource.machineType", text(o, "machineType"))
	if e != nil {
		return e
	}
	if scopeOf(m.name) != c.scope {
		return invalid("resource.machineType", text(o, "machineType"), "The machine type is in another zone.")
	}
	o["machineType"] = w.link(m.name)
	if e := checkMetadata(o); e != nil {
		return e
	}
	if e := checkTags(o); e != nil {
		return e
	}
	if e := checkNICs(w, c, t, m); e != nil {
		return e
	}
	if e := checkGPUs(w, c, t, m); e != nil {
		return e
	}
	if e := checkScheduling(o); e != nil {
		return e
	}
	if h := text(o, "hostname"); h != "" && len(h) > 253 {
		return invalid("resource.hostname", h, "Must be a fully qualified domain name.")
	}
	completeInstance(o)
	return checkDisks(w, c, t)
}

// completeInstance fills in what nobody asks for.
func completeInstance(o object) {
	fill(o, "canIpForward", false)
	fill(o, "deletionProtection", false)
	fill(o, "startRestricted", false)
	o["status"], o["cpuPlatform"], o["lastStartTimestamp"] = "PROVISIONING", "Unknown CPU Platform", ""
	if o["shieldedInstanceConfig"] == nil {
		o["shieldedInstanceConfig"] = object{"enableSecureBoot": false, "enableVtpm": true, "enableIntegrityMonitoring": true}
	}
	o["shieldedInstanceIntegrityPolicy"] = object{"updateAutoLearnPolicy": true}
	if o["confidentialInstanceConfig"] == nil {
		o["confidentialInstanceConfig"] = object{"enableConfidentialCompute": false}
	}
}

func checkMetadata(o object) *apiError {
	m := sub(o, "metadata")
	if m == nil {
		m = object{}
		o["metadata"] = m
	}
	delete(m, "fingerprint")
	m["kind"] = "compute#metadata"
	size, seen := 0, map[string]bool{}
	for i, item := range objects(m, "items") {
		key, value := text(item, "key"), text(item, "value")
		field := fmt.Sprintf("resource.metadata.items[%d]", i)
		switch {
		case !metadataKey.MatchString(key):
			return invalid(field+".key", key, "Must be a match of regex '[a-zA-Z0-9-_]{1,128}'")
		case seen[key]:
			return invalid(field+".key", key, "Metadata has duplicate keys.")
		case len(value) > 262144:
			return invalid(field+".value", fmt.Sprintf("%d bytes", len(value)), "Metadata value exceeds the limit of 262144 bytes.")
		}
		seen[key] = true
		size += len(key) + len(value)
	}
	if size > 524288 {
		return invalid("resource.metadata", fmt.Sprintf("%d bytes", size), "The total size of metadata exceeds 512 KB.")
	}
	return nil
}

func checkTags(o object) *apiError {
	tags := sub(o, "tags")
	if tags == nil {
		tags = object{}
		o["tags"] = tags
	}
	delete(tags, "fingerprint")
	items := texts(tags, "items")
	if len(items) > 64 {
		return invalid("resource.tags.items", len(items), "There can be at most 64 tags.")
	}
	for i, tag := range items {
		if !nameForm.MatchString(tag) {
			return invalid(fmt.Sprintf("resource.tags.items[%d]", i), tag, "Must be a match of regex '(?:[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?)'")
		}
	}
	slices.Sort(items)
	if items = slices.Compact(items); len(items) == 0 {
		delete(tags, "items")
		return nil
	}
	sorted := make([]any, len(items))
	for i, tag := range items {
		sorted[i] = tag
	}
	tags["items"] = sorted // it reads back sorted
	return nil
}

func checkGPUs(w *world, c call, t, m *thing) *apiError {
	for i, g := range objects(t.o, "guestAccelerators") {
		field := fmt.Sprintf("resource.guestAccelerators[%d]", i)
		a, e := w.find(c.project, "acceleratorTypes", field+".acceleratorType", text(g, "acceleratorType"))
		if e != nil {
			return e
		}
		if len(base(m.name)) < 3 || base(m.name)[:3] != "n1-" && base(m.name)[:3] != "g2-" {
			return invalid(field+".acceleratorType", base(a.name), "[%s] cannot be used with machine type %s.", base(a.name), base(m.name))
		}
		if n := number(g, "acceleratorCount"); n < 1 || n > number(a.o, "maximumCardsPerInstance") || n&(n-1) != 0 {
			return invalid(field+".acceleratorCount", n, "Invalid number of accelerators.")
		}
		g["acceleratorType"] = w.link(a.name)
	}
	bundled := m.o["accelerators"] != nil
	if (bundled || len(list(t.o, "guestAccelerators")) > 0) && text(sub(t.o, "scheduling"), "onHostMaintenance") != "TERMINATE" {
		return &apiError{HTTP: 400, Reason: "badRequest", Code: "UNSUPPORTED_OPERATION", Text: "Instances with guest accelerators do not support live migration."}
	}
	return nil
}

// settleInstance is the end of an insert: addresses are only taken then.
func settleInstance(w *world, t *thing) *apiError {
	for _, n := range objects(t.o, "networkInterfaces") {
		if e := w.takeAddress(t, n); e != nil {
			return e
		}
	}
	for _, name := range t.made {
		w.things[name].state = ready
		w.things[name].o["status"] = "READY"
	}
	w.run(t)
	return nil
}

// run makes an instance run.
func (w *world) run(t *thing) {
	t.o["status"], t.o["cpuPlatform"], t.o["lastStartTimestamp"] = "RUNNING", "Intel Broadwell", w.stamp()
	t.started = w.now()
	t.serial += "SeaBIOS (version 1.8.2-google)\nBooting " + base(t.name) + "\n"
}
