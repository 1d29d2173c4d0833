package gce

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/engine"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
	"github.com/labctl-dev/labctl/provider"
)

// TestQuotas: a plan says what the project's quotas lack and is not begun; what is there already needs nothing more; what a
// plan says a lab takes is what the API then counts.
func TestQuotas(t *testing.T) {
	l := deployment(t, "deploy4", "gpu=nvidia-tesla-t4")
	x := newTown(t, l, gcetest.Options{Quotas: map[string]float64{"NETWORKS": 3, "FIREWALLS": 50, "NVIDIA_T4_GPUS": 0}})
	o := x.options()
	o.Measure = true
	p := x.plan(o)
	var said []string
	for _, problem := range p.Room.Refused() {
		said = append(said, problem.Text)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{
		"needs 4 more NETWORKS in project lab-project, where 0 of at most 3 are in use: 1 are missing (cicd, internal, perimeter, uplink)",
		"needs 1 more NVIDIA_T4_GPUS in region europe-west1, where 0 of at most 0 are in use: 1 are missing",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not said: %s", want, all)
		}
	}
	var short *engine.NoRoomError
	if _, err := x.engine().Apply(t.Context(), x.lab, p, engine.ApplyOptions{}); !errors.As(err, &short) || len(x.server.Names()) > 0 {
		t.Errorf("a plan that is refused is begun: %v, %v", err, x.server.Names())
	}

	x = newTown(t, l, gcetest.Options{Quotas: map[string]float64{"NVIDIA_T4_GPUS": 1}})
	before := x.plan(o).Room
	if len(before.Refused()) > 0 || len(before.Quotas) < 10 {
		t.Fatalf("%+v", before)
	}
	x.mustApply(x.options())
	after, err := x.engine().Provider.(provider.Quoter).Quotas(t.Context(), provider.QuotaQuery{After: x.desired()})
	if err != nil {
		t.Fatal(err)
	}
	for i, q := range after.All { // asked as if none of it were there: in use is what it was said to need
		if q.Name != "IN_USE_ADDRESSES" && (q.Used != q.Needs || before.Quotas[i].Needs != q.Needs) {
			t.Errorf("%s: a plan says %g, and the API counts %g", q.Name, before.Quotas[i].Needs, q.Used)
		}
	}
	things := x.desired()
	one := slices.DeleteFunc(slices.Clone(things), func(r provider.Resource) bool { return r.Addr == addr(kindMachine, "jumpbox") })
	more, err := x.engine().Provider.(provider.Quoter).Quotas(t.Context(), provider.QuotaQuery{Before: one, After: things})
	i := slices.IndexFunc(more.All, func(q provider.Quota) bool { return q.Name == "INSTANCES" })
	if err != nil || i < 0 || more.All[i].Needs != 1 || !slices.Equal(more.All[i].By, []string{"jumpbox"}) {
		t.Errorf("one machine more: %v, %+v", err, more)
	}
	if p := x.plan(o); p.Room != nil {
		t.Errorf("a plan that takes nothing more asks: %+v", p.Room)
	}
}

// desired is all that the town's lab is made of.
func (x *town) desired() []provider.Resource {
	x.t.Helper()
	all, err := x.engine().Provider.Expand(x.lab, x.seeds)
	if err != nil {
		x.t.Fatal(err)
	}
	return all
}
