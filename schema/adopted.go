package schema

import (
	"slices"

	"github.com/labctl-dev/labctl/lab"
)

// owned are the fields of a machine that say what labctl made it of or what holds inside it.
func owned() []string {
	return []string{
		"firewall", "disk", "disks", "pool", "image", "arch", "firmware", "ready", "user", "roles", "sources", "data", "packages", "users", "files", "units", "commands", "boot", "install", "nested", "devices", "gpus",
		"masquerade", "masquerade6", "publish", "dns", "dhcp",
	}
}

// adopted refuses what is said of adopted machines although labctl leaves it to whoever made them.
func (s *Spec) adopted(l lab.Lab) Errors {
	var es Errors
	problem := func(path, text string) {
		es = append(es, Error{Path: path, Message: text})
	}
	for _, m := range l.Machines {
		es = append(es, s.external(m)...)
		kind := "servers"
		if m.Router {
			kind = "routers"
		}
		if m.Adopted == "" {
			continue
		}
		path := lab.Path(kind, m.Name)
		if m.Router {
			problem(path+".adopted", "only servers can be adopted: a router forwards by what labctl configures inside it, and labctl never goes inside an adopted machine")
			continue
		}
		for _, field := range owned() {
			if lookup(s.user, []string{kind, m.Name, field}).Exists() {
				problem(path+"."+field, "machine "+m.Name+" is adopted: its disks and its inside are not labctl's, so "+field+" cannot be given")
			}
		}
	}
	return slices.Clip(es)
}
