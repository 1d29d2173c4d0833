package providertest

import (
	"context"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/provider"
)

// protected checks that the data of what is protected is kept when it is deleted, and told of, and that of the rest is not.
func protected(t *testing.T, o Options) {
	if len(o.Lab.Machines) == 0 || !describesProtect(o.Plugin.Description) {
		t.Skip("no kind with data has the attribute protect")
	}
	w, options := o.world(t)
	t.Cleanup(func() { w.clear(t) })
	w.l = clone(o.Lab)
	w.l.Machines = w.l.Machines[len(w.l.Machines)-1:]
	w.l.Machines[0].Power = "off"
	w.l.Machines[0].Protect = true
	want := w.desired(t)
	w.create(t, want...)
	w.law(t, "after creating something protected", want)
	for range 2 { // absent already keeps nothing
		for _, x := range w.deletedNotes(t) {
			if kept := x.note != ""; kept != x.data {
				t.Errorf("Delete keeps the data of what is protected, and says where, and of nothing else: %s: %q", x.addr, x.note)
			}
			if x.data && !strings.ContainsAny(x.note, "0123456789") {
				t.Errorf("a note about what was kept says how much it is: %s: %q", x.addr, x.note)
			}
		}
	}
	o.gone(t, options)
}

func describesProtect(d provider.Description) bool {
	for _, k := range d.Kinds {
		if _, ok := k.Attrs["protect"]; ok && k.Data {
			return true
		}
	}
	return false
}

// deleted is a thing that was deleted.
type deleted struct {
	addr provider.Addr
	data bool   // it was protected and held data
	note string // the first that came
}

// deletedNotes deletes all there is, last of creation first.
func (w world) deletedNotes(t *testing.T) []deleted {
	t.Helper()
	d := w.o.Plugin.Description
	found := w.observed(t)
	var out []deleted
	for rank := len(d.Kinds) - 1; rank >= 0; rank-- {
		for _, x := range found {
			if d.Rank(x.Addr.Kind) != rank || x.Shared {
				continue
			}
			one := deleted{addr: x.Addr, data: d.Kinds[rank].Data && x.Attrs["protect"] == true}
			w.call(t, "Delete removes what exists", func(ctx context.Context) error {
				return w.p.Delete(ctx, x, func(s provider.Step) {
					if one.note == "" {
						one.note = s.Note
					}
				})
			})
			out = append(out, one)
		}
	}
	return out
}
