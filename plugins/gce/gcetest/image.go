package gcetest

import (
	"slices"
	"strings"
)

func images() *kind {
	return &kind{
		collection: "images", singular: "image", labels: true, early: true,
		check: func(w *world, c call, t *thing) *apiError {
			t.o["status"], t.o["sourceType"] = "PENDING", "RAW"
			switch {
			case text(sub(t.o, "rawDisk"), "source") != "":
				fill(t.o, "diskSizeGb", "10")
			case text(t.o, "sourceDisk") != "":
				d, e := w.find(c.project, "disks", "resource.sourceDisk", text(t.o, "sourceDisk"))
				if e != nil {
					return e
				}
				t.o["sourceDisk"], t.o["diskSizeGb"] = w.link(d.name), d.o["sizeGb"]
			default:
				return required("resource.rawDisk.source")
			}
			fill(t.o, "architecture", "X86_64")
			return nil
		},
		settle: func(_ *world, t *thing) *apiError { t.o["status"] = "READY"; return nil },
		verbs:  map[string]verb{"setLabels": setLabels},
	}
}

// family answers with the newest image of a family that is not deprecated.
func (w *world) family(c call) (any, *apiError) {
	t := w.newest(c.project, c.name)
	if t == nil {
		return nil, notFound(join("projects", c.project, "global/images/family", c.name))
	}
	return w.show(t), nil
}

func (w *world) newest(project, family string) *thing {
	all := slices.DeleteFunc(w.of("images"), func(t *thing) bool {
		return projectOf(t.name) != project || text(t.o, "family") != family || sub(t.o, "deprecated") != nil || t.state != ready
	})
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1] // names of public images end in their dates
}

// image is the image that a URL means, also one that names a family.
func (w *world) image(project, field, url string) (*thing, *apiError) {
	name := refer(project, url)
	if head, family, ok := strings.Cut(name, "/global/images/family/"); ok {
		if t := w.newest(strings.TrimPrefix(head, "projects/"), family); t != nil {
			return t, nil
		}
		return nil, invalid(field, url, "The referenced image resource cannot be found.")
	}
	return w.find(project, "images", field, url)
}
