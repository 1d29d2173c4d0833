package check

import (
	"strings"

	"github.com/labctl-dev/labctl/lab"
)

// kept checks the names by which labctl keeps what commands print: nobody else's, so that nothing takes its place.
func (v *vetter) kept() {
	owner := map[string]string{}
	for _, m := range v.lab.Machines {
		for _, c := range m.Guest.Commands {
			path := m.Path("commands", c.Name) + ".keep"
			switch other, taken := owner[c.Keep]; {
			case c.Keep == "":
				continue
			case !secretName(c.Keep):
				v.error(path, secretForm, c.Keep)
			case v.secrets[c.Keep].Name != "":
				v.clash(path, lab.Path("secrets", c.Keep), "%q is one of the lab's secrets", c.Keep)
			case taken:
				v.clash(path, other, "%q is what another command's output is kept as", c.Keep)
			}
			owner[c.Keep] = path
		}
	}
}

const secretForm = `%q is not a name for a secret (a-z, 0-9, "-", "_", "." and "/" between names)`

func secretName(name string) bool {
	for _, part := range strings.Split(name, "/") {
		if !file.MatchString(part) {
			return false
		}
	}
	return true
}
