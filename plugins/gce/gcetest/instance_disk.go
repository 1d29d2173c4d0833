package gcetest

import (
	"fmt"
	"strconv"
)

// checkDisks judges the disks of a new instance. Those that it describes are made; they are there, in the making, from
// then on.
func checkDisks(w *world, c call, t *thing) *apiError {
	disks := objects(t.o, "disks")
	if len(disks) == 0 {
		return required("resource.disks")
	}
	for i, d := range disks {
		field := fmt.Sprintf("resource.disks[%d]", i)
		if yes(d, "boot") != (i == 0) {
			return invalid(field+".boot", yes(d, "boot"), "Boot disk must be the first disk attached to the instance.")
		}
		e := checkAttached(w, c, t, field, i, d)
		if e != nil {
			for _, name := range t.made {
				delete(w.things, name)
			}
			return e
		}
	}
	return nil
}

func checkAttached(w *world, c call, t *thing, field string, i int, d object) *apiError {
	fill(d, "type", "PERSISTENT")
	if d["type"] != "PERSISTENT" {
		return invalid(field+".type", d["type"], "gcetest has persistent disks only.")
	}
	source := text(d, "source")
	if p := sub(d, "initializeParams"); p != nil {
		if source != "" {
			return invalid(field, source, "Only one of source and initializeParams can be specified.")
		}
		made, e := makeDisk(w, c, t, field, p)
		if e != nil {
			return e
		}
		source = w.link(made.name)
		delete(d, "initializeParams")
	} else if source == "" {
		return required(field + ".source")
	}
	name := refer(c.project, source)
	disk := w.things[name]
	if !contains(t.made, name) {
		var e *apiError
		if disk, e = w.find(c.project, "disks", field+".source", source); e != nil {
			return e
		}
	}
	return w.attach(c, t, field, i, d, disk)
}

// attach completes d, which attaches disk to t.
func (w *world) attach(c call, t *thing, field string, i int, d object, disk *thing) *apiError {
	if scopeOf(disk.name) != c.scope {
		return invalid(field+".source", d["source"], "The disk is in another zone.")
	}
	fill(d, "mode", "READ_WRITE")
	if user := w.user(disk.name, "instances"); user != "" && d["mode"] == "READ_WRITE" {
		return inUse("disk", disk.name, user)
	}
	d["source"], d["diskSizeGb"] = w.link(disk.name), disk.o["sizeGb"]
	fill(d, "deviceName", fmt.Sprintf("persistent-disk-%d", i))
	for _, other := range objects(t.o, "disks") {
		if same := other["deviceName"] == d["deviceName"]; same && refer("", text(other, "source")) != disk.name {
			return invalid(field+".deviceName", d["deviceName"], "The device name is used by another disk of the instance.")
		}
	}
	fill(d, "interface", "SCSI")
	fill(d, "autoDelete", false)
	fill(d, "boot", false)
	d["index"], d["kind"] = float64(i), "compute#attachedDisk"
	if disk.o["licenses"] != nil && yes(d, "boot") {
		d["licenses"], d["guestOsFeatures"], d["architecture"] = disk.o["licenses"], disk.o["guestOsFeatures"], disk.o["architecture"]
	}
	return nil
}

// makeDisk makes the disk that initializeParams describe.
func makeDisk(w *world, c call, t *thing, field string, p object) (*thing, *apiError) {
	name := orElse(text(p, "diskName"), base(t.name))
	if e := checkName(field+".initializeParams.diskName", name); e != nil {
		return nil, e
	}
	d := &thing{name: join("projects", c.project, c.scope, "disks", name), kind: w.kinds["disks"], state: creating, o: object{"name": name, "status": "CREATING"}}
	if w.things[d.name] != nil {
		return nil, exists(d.name)
	}
	for to, from := range map[string]string{"sizeGb": "diskSizeGb", "type": "diskType", "sourceImage": "sourceImage", "labels": "labels", "description": "description", "sourceSnapshot": "sourceSnapshot"} {
		if p[from] != nil {
			d.o[to] = p[from]
		}
	}
	if e := checkLabels(field+".initializeParams.labels", sub(d.o, "labels")); e != nil {
		return nil, e
	}
	if e := checkDisk(w, c.project, field+".initializeParams", d, "sourceImage", "diskSizeGb", "diskType"); e != nil {
		return nil, e
	}
	w.head(d)
	w.things[d.name] = d
	t.made = append(t.made, d.name)
	return d, nil
}

func attachDisk(w *world, c call, t *thing) (func() *apiError, *apiError) {
	d := c.body
	fill(d, "type", "PERSISTENT")
	if text(d, "source") == "" {
		return nil, required("resource.source")
	}
	disk, e := w.find(c.project, "disks", "resource.source", text(d, "source"))
	if e != nil {
		return nil, e
	}
	n := len(list(t.o, "disks"))
	if e := w.attach(c, t, "resource", n, d, disk); e != nil {
		return nil, e
	}
	return func() *apiError {
		if user := w.user(disk.name, "instances"); user != "" {
			return inUse("disk", disk.name, user)
		}
		t.o["disks"] = append(list(t.o, "disks"), d)
		return nil
	}, nil
}

func detachDisk(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	device := c.query.Get("deviceName")
	var left []any
	for _, d := range objects(t.o, "disks") {
		if text(d, "deviceName") != device {
			left = append(left, d)
		} else if yes(d, "boot") && t.o["status"] != "TERMINATED" {
			return nil, &apiError{HTTP: 400, Reason: "invalid", Code: "UNSUPPORTED_OPERATION", Text: "Detach boot disk is not supported for running instances."}
		}
	}
	if len(left) == len(list(t.o, "disks")) {
		return nil, invalid("deviceName", device, "No attached disk found with device name '%s'", device)
	}
	return func() *apiError {
		for i, d := range left {
			d.(object)["index"] = float64(i)
		}
		t.o["disks"] = left
		return nil
	}, nil
}

func setAutoDelete(_ *world, c call, t *thing) (func() *apiError, *apiError) {
	on, err := strconv.ParseBool(c.query.Get("autoDelete"))
	if err != nil {
		return nil, required("autoDelete")
	}
	for _, d := range objects(t.o, "disks") {
		if text(d, "deviceName") == c.query.Get("deviceName") {
			return set(&thing{o: d}, object{"autoDelete": on}), nil
		}
	}
	return nil, invalid("deviceName", c.query.Get("deviceName"), "No attached disk found with device name '%s'", c.query.Get("deviceName"))
}
