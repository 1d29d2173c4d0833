package plan

import (
	"fmt"
	"testing"

	"github.com/labctl-dev/labctl/provider"
)

// wired is small, its machines with interfaces and addresses.
func wired(places map[string]map[string]string) world {
	w := small()
	for m, at := range places {
		var nics []any
		addresses := map[string]any{}
		for network, a := range at {
			nics = append(nics, map[string]any{"network": network, "mac": m})
			if a != "" {
				addresses[network] = a
			}
		}
		w.set("machine/"+m, "nics", nics).set("guest/"+m, "addresses", addresses)
	}
	return w
}

// placed is description with the attributes that say where a machine is.
func placed() provider.Description {
	d := description()
	d.Kinds[3].Attrs["nics"] = provider.Attr{Impact: provider.Live, Place: true}
	d.Kinds[4].Attrs["addresses"] = provider.Attr{Impact: provider.Reconfigure, Place: true}
	return d
}

func TestMove(t *testing.T) {
	both := map[string]map[string]string{"web": {"lan": "10.0.0.5"}, "db": {"lan": "10.0.0.6"}}
	for _, tt := range []struct {
		name       string
		spec, live world
		want       string // of all changes that move, in order
	}{
		{"nothing", wired(both), wired(both), ""},
		{"to another network", wired(map[string]map[string]string{"web": {"dmz": "10.1.0.5"}, "db": {"lan": "10.0.0.6"}}), wired(both),
			"guest/web: [lan 10.0.0.5] to [dmz 10.1.0.5], lost by [db], seconds; "},
		{"another address", wired(map[string]map[string]string{"web": {"lan": "10.0.0.9"}, "db": {"lan": "10.0.0.6"}}), wired(both),
			"guest/web: [lan 10.0.0.5] to [lan 10.0.0.9], lost by [db], seconds; "},
		{"one more address takes nothing away", wired(map[string]map[string]string{"web": {"lan": "10.0.0.5 fd00::5"}, "db": {"lan": "10.0.0.6"}}), wired(both), ""},
		{"the same in another order", wired(map[string]map[string]string{"web": {"lan": "10.0.0.5 fd00::5"}, "db": {"lan": "10.0.0.6"}}),
			wired(map[string]map[string]string{"web": {"lan": "fd00::5 10.0.0.5"}, "db": {"lan": "10.0.0.6"}}), ""},
		{"one of two addresses", wired(map[string]map[string]string{"web": {"lan": "10.0.0.9 fd00::5"}, "db": {"lan": "10.0.0.6"}}),
			wired(map[string]map[string]string{"web": {"lan": "10.0.0.5 fd00::5"}, "db": {"lan": "10.0.0.6"}}),
			"guest/web: [lan 10.0.0.5] to [lan 10.0.0.9], lost by [db], seconds; "},
		{"one address less", wired(map[string]map[string]string{"web": {"lan": "10.0.0.5"}, "db": {"lan": "10.0.0.6"}}),
			wired(map[string]map[string]string{"web": {"lan": "10.0.0.5 fd00::5"}, "db": {"lan": "10.0.0.6"}}),
			"guest/web: [lan fd00::5] to [], lost by [db], for good there; "},
		{"two addresses to another network", wired(map[string]map[string]string{"web": {"dmz": "10.1.0.5 fd01::5"}, "db": {"lan": "10.0.0.6"}}),
			wired(map[string]map[string]string{"web": {"lan": "10.0.0.5 fd00::5"}, "db": {"lan": "10.0.0.6"}}),
			"guest/web: [lan 10.0.0.5, fd00::5] to [dmz 10.1.0.5, fd01::5], lost by [db], seconds; "},
		{"one more network takes nothing away", wired(map[string]map[string]string{"web": {"lan": "10.0.0.5", "dmz": "10.1.0.5"}, "db": {"lan": "10.0.0.6"}}), wired(both), ""},
		{"away for good", wired(map[string]map[string]string{"web": {"lan": "10.0.0.5"}, "db": {"lan": "10.0.0.6"}}),
			wired(map[string]map[string]string{"web": {"lan": "10.0.0.5", "dmz": "10.1.0.5"}, "db": {"lan": "10.0.0.6", "dmz": "10.1.0.6"}}).set("machine/db", "power", "off").set("machine/db", "power", "on"),
			"guest/db: [dmz 10.1.0.6] to [], lost by [web], for good there; guest/web: [dmz 10.1.0.5] to [], lost by [db], for good there; "},
		{"with a restart", wired(map[string]map[string]string{"web": {"lan": "10.0.0.9"}, "db": {"lan": "10.0.0.6"}}).set("machine/web", "memory", 1.0), wired(both),
			"guest/web: [lan 10.0.0.5] to [lan 10.0.0.9], lost by [db], a restart; "},
		{"who is off loses nobody", wired(map[string]map[string]string{"web": {"lan": "10.0.0.9"}, "db": {"lan": "10.0.0.6"}}), wired(both).set("machine/db", "power", "off"),
			"guest/web: [lan 10.0.0.5] to [lan 10.0.0.9], lost by [], seconds; "},
		{"who is off is lost by nobody", wired(map[string]map[string]string{"web": {"lan": "10.0.0.9"}, "db": {"lan": "10.0.0.6"}}), wired(both).set("machine/web", "power", "off"), ""},
		{"addresses that the target gives", wired(map[string]map[string]string{"web": {"dmz": ""}, "db": {"lan": ""}}), wired(map[string]map[string]string{"web": {"lan": ""}, "db": {"lan": ""}}),
			"machine/web: [lan] to [dmz], lost by [db], seconds; "},
	} {
		p, err := Compute(Input{Description: placed(), Desired: tt.spec.desired(), Observed: tt.live.observed()})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range p.Changes {
			if m := c.Move; m != nil {
				got += fmt.Sprintf("%s/%s: %v to %v, lost by %v, %s; ", c.Addr.Kind, c.Addr.Name, m.From, m.To, m.LostBy, m.Lasts)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
