package lab

import "testing"

func TestMeant(t *testing.T) {
	names := []string{"web", "wan", "jumpbox", "db", "internal"}
	for name, want := range map[string]string{
		"wbe": `, did you mean "web"?`, "jumbox": `, did you mean "jumpbox"?`, "wlan": `, did you mean "wan"?`,
		"intrenal": `, did you mean "internal"?`, "mailserver": "", "xy": "",
	} {
		if got := Meant(name, names); got != want {
			t.Errorf("%s%s, want %q", name, got, want)
		}
	}
}
