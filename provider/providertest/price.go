package providertest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/provider"
)

// estimated checks that an estimate is of what was asked about, is the same twice, and grows with what there is.
func (w world) estimated(t *testing.T) {
	p := w.p.(provider.Pricer) // that it is one was checked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := p.Prices(ctx, provider.PriceQuery{}); provider.CodeOf(err) != provider.Canceled {
		t.Errorf("a canceled call says so: Prices: %v", err)
	}
	things := w.desired(t)
	ask := func(things []provider.Resource, table []byte) (out provider.Prices, err error) {
		ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
		defer cancel()
		return p.Prices(ctx, provider.PriceQuery{Things: things, Table: table})
	}
	all, err := ask(things, nil)
	if err != nil {
		t.Fatalf("Prices answers: %v", err)
	}
	if again, err := ask(things, nil); err != nil || cmp.Diff(all, again) != "" {
		t.Errorf("the same things cost the same: %v\n%s", err, cmp.Diff(all, again))
	}
	for _, i := range all.Items {
		if !slices.ContainsFunc(things, func(r provider.Resource) bool { return r.Addr == i.Addr && r.Machine == i.Machine }) || i.Hourly < 0 || i.What == "" {
			t.Errorf("a price is of a thing that was asked about, and says of what: %+v", i)
		}
	}
	if _, err := time.Parse(time.DateOnly, all.Date); len(all.Items) > 0 && (err != nil || all.Currency == "") {
		t.Errorf("prices have a currency and a date: %q, %q", all.Currency, all.Date)
	}
	if none, err := ask(nil, nil); err != nil || len(none.Items) > 0 {
		t.Errorf("nothing costs nothing: %v, %+v", err, none.Items)
	}
	if _, err := ask(things, []byte("no table")); provider.CodeOf(err) != provider.Invalid {
		t.Errorf("a table that makes no sense is invalid: %v", err)
	}
}

// expired checks that labs whose time is not up are left alone.
func (w world) expired(t *testing.T) {
	t.Helper()
	e := w.p.(provider.Expirer) // that it is one was checked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Expired(ctx, time.Now()); provider.CodeOf(err) != provider.Canceled {
		t.Errorf("a canceled call says so: Expired: %v", err)
	}
	w.call(t, "Expired answers", func(ctx context.Context) error {
		all, err := e.Expired(ctx, time.Now())
		for _, x := range all {
			if x.Lab == w.l.Name && x.Target == w.l.Target {
				t.Errorf("a lab whose time is not up is not expired: %+v", x)
			}
		}
		return err
	})
}
