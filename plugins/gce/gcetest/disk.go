package gcetest

import "strconv"

func disks() *kind {
	return &kind{
		collection: "disks", singular: "disk", labels: true, early: true,
		check: func(w *world, c call, t *thing) *apiError {
			if image := c.query.Get("sourceImage"); image != "" {
				t.o["sourceImage"] = image
			}
			t.o["status"] = "CREATING"
			return checkDisk(w, c.project, "resource", t, "sourceImage", "sizeGb", "type")
		},
		settle: func(_ *world, t *thing) *apiError { t.o["status"] = "READY"; return nil },
		held: func(w *world, t *thing) *apiError {
			if user := w.user(t.name, "instances"); user != "" {
				return inUse("disk", t.name, user)
			}
			return nil
		},
		show: func(w *world, t *thing, o object) {
			var users []any
			for _, i := range w.of("instances") {
				if mentions(i.o["disks"], t.name) {
					users = append(users, w.link(i.name))
				}
			}
			if users != nil {
				o["users"] = users
			}
		},
		verbs: map[string]verb{
			"setLabels": setLabels,
			"resize": func(w *world, c call, t *thing) (func() *apiError, *apiError) {
				size := number(c.body, "sizeGb")
				if size <= number(t.o, "sizeGb") {
					return nil, invalid("sizeGb", size, "New disk size must be larger than the current size of %d GB.", number(t.o, "sizeGb"))
				}
				return func() *apiError {
					t.o["sizeGb"] = strconv.Itoa(size)
					for _, i := range w.of("instances") {
						for _, d := range objects(i.o, "disks") {
							if mentions(d["source"], t.name) {
								d["diskSizeGb"] = strconv.Itoa(size)
							}
						}
					}
					return nil
				}, nil
			},
			"createSnapshot": createSnapshot,
		},
	}
}

// checkDisk judges and completes a disk's image, size and type. The fields' names differ by where they stand.
func checkDisk(w *world, project, field string, t *thing, image, size, kind string) *apiError {
	o := t.o
	low := 10
	if text(o, "sourceImage") != "" {
		i, e := w.image(project, field+"."+image, text(o, "sourceImage"))
		if e != nil {
			return e
		}
		o["sourceImage"] = w.link(i.name)
		o["sourceImageId"] = i.o["id"]
		o["licenses"] = i.o["licenses"]
		o["guestOsFeatures"] = i.o["guestOsFeatures"]
		o["architecture"] = i.o["architecture"]
		low = max(number(i.o, "diskSizeGb"), 10)
		fill(o, "sizeGb", strconv.Itoa(low))
	} else if s := text(o, "sourceSnapshot"); s != "" {
		f, e := w.find(project, "snapshots", field+".sourceSnapshot", s)
		if e != nil {
			return e
		}
		o["sourceSnapshot"] = w.link(f.name)
		low = number(f.o, "diskSizeGb")
		fill(o, "sizeGb", strconv.Itoa(low))
	}
	fill(o, "sizeGb", "500")
	n := number(o, "sizeGb")
	if n < low && low > 10 {
		return invalid(field+"."+size, n, "Requested disk size cannot be smaller than the image size (%d GB)", low)
	}
	if n < 10 || n > 65536 {
		return invalid(field+"."+size, n, "Disk size must be between 10 GB and 65536 GB.")
	}
	zone := base(scopeOf(t.name))
	fill(o, "type", "zones/"+zone+"/diskTypes/pd-standard")
	d, e := w.find(project, "diskTypes", field+"."+kind, text(o, "type"))
	if e != nil {
		return e
	}
	o["type"] = w.link(d.name)
	o["physicalBlockSizeBytes"] = "4096"
	return nil
}

func snapshots() *kind {
	return &kind{
		collection: "snapshots", singular: "snapshot", labels: true, early: true,
		verbs: map[string]verb{"setLabels": setLabels},
	}
}

func createSnapshot(w *world, c call, t *thing) (func() *apiError, *apiError) {
	name := text(c.body, "name")
	if e := checkName("resource.name", name); e != nil {
		return nil, e
	}
	s := &thing{name: join("projects", c.project, "global/snapshots", name), kind: w.kinds["snapshots"], o: clone(c.body).(object), state: creating}
	if w.things[s.name] != nil {
		return nil, exists(s.name)
	}
	if e := checkLabels("resource.labels", sub(s.o, "labels")); e != nil {
		return nil, e
	}
	w.head(s)
	s.o["status"], s.o["diskSizeGb"], s.o["sourceDisk"], s.o["sourceDiskId"] = "CREATING", t.o["sizeGb"], w.link(t.name), t.o["id"]
	s.o["storageBytes"], s.o["storageBytesStatus"] = "0", "UP_TO_DATE"
	w.things[s.name] = s
	return func() *apiError { s.state, s.o["status"] = ready, "READY"; return nil }, nil
}
