package schema

import "github.com/labctl-dev/labctl/lab"

// origin checks that a file comes from one place, and that its digest is known where somebody else makes it.
func (d *decoder) origin(path string, o *lab.Origin) {
	switch {
	case count(o.URL != "", o.File != "", o.Seed != "", o.Image != "", o.Netboot != "", o.Installer != "", o.Container != "") != 1:
		d.problem(path, "needs exactly one of url, file, seed, image, netboot, installer and container")
	case (o.URL != "" || o.File != "") && o.SHA256 == "":
		d.problem(path, "needs the sha256 of what it is: 64 hex digits")
	case o.URL == "" && o.File == "" && o.SHA256 != "":
		d.problem(path+".sha256", "is for a url or a file: labctl knows what it makes itself")
	case o.File != "":
		o.ID = "sha256:" + o.SHA256
	}
}
