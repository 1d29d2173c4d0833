package lab

import "testing"

func TestSpecPath(t *testing.T) {
	for want, got := range map[string]string{
		"servers.web":                     Machine{Name: "web"}.Path(),
		"routers.edge.nics.lan":           Machine{Name: "edge", Router: true}.Path("nics", "lan"),
		`servers."a.b"`:                   Machine{Name: "a.b"}.Path(),
		`servers.web.files."/etc/motd"`:   Machine{Name: "web"}.Path("files", "/etc/motd"),
		`networks."".#second.x_1-y."é z"`: Path("networks", "", "#second", "x_1-y", "é z"),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
