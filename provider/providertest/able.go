package providertest

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// able checks the optional interfaces.
func able(t *testing.T, o Options) {
	w, _ := o.world(t)
	t.Cleanup(func() { w.clear(t) })
	d := o.Plugin.Description
	dialer, dials := w.p.(provider.Dialer)
	consoler, consoles := w.p.(provider.Consoler)
	doctor, diagnoses := w.p.(provider.Doctor)
	snapshotter, snapshots := w.p.(provider.Snapshotter)
	_, adopts := w.p.(provider.Adopter)
	_, measures := w.p.(provider.Measurer)
	installer, installs := w.p.(provider.Installer)
	starter, starts := w.p.(provider.Starter)
	_, estimates := w.p.(provider.Pricer)
	_, expires := w.p.(provider.Expirer)
	filterer, filters := w.p.(provider.Filterer)
	quoter, quotes := w.p.(provider.Quoter)
	for a, has := range map[provider.Ability]bool{
		provider.Dials: dials, provider.Consoles: consoles, provider.Diagnoses: diagnoses, provider.Snapshots: snapshots,
		provider.Adopts: adopts, provider.Measures: measures, provider.Installs: installs, provider.Starts: starts,
		provider.Estimates: estimates, provider.Expires: expires, provider.Filters: filters, provider.Allots: quotes,
	} {
		if d.Has(a) && !has {
			t.Errorf("a provider implements the optional interfaces that it announces: not %s", a)
		}
		if has && !d.Has(a) {
			w.refuses(t, a)
		}
	}
	if t.Failed() {
		return
	}
	if d.Has(provider.Dials) {
		ctx, cancel := context.WithTimeout(context.Background(), o.Deadline)
		defer cancel()
		conn, err := dialer.Dial(ctx, provider.Endpoint{Lab: w.l, Machine: "nobody", Port: 22})
		if provider.CodeOf(err) != provider.NotFound {
			t.Errorf("Dial of a machine that does not exist is not-found: %v", err)
		}
		if err == nil {
			conn.Close()
		}
	}
	if d.Has(provider.Snapshots) { // before the lab is made here: worlds may be on one host
		t.Run("snapshots", func(t *testing.T) { snapshotted(t, o) })
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := snapshotter.Snapshots(ctx, w.l); provider.CodeOf(err) != provider.Canceled {
			t.Errorf("a canceled call says so: Snapshots: %v", err)
		}
	}
	if d.Has(provider.Measures) {
		t.Run("capacity", w.measured)
	}
	if d.Has(provider.Installs) {
		w.installs(t, installer)
	}
	if d.Has(provider.Starts) {
		w.starts(t, starter)
	}
	if d.Has(provider.Estimates) {
		t.Run("prices", w.estimated)
	}
	if d.Has(provider.Expires) {
		w.expired(t)
	}
	if d.Has(provider.Allots) {
		w.quotas(t, quoter)
	}
	if d.Has(provider.Filters) {
		w.filters(t, filterer)
	}
	if d.Has(provider.Consoles) {
		w.consoles(t, consoler)
	}
	if d.Has(provider.Diagnoses) {
		w.call(t, "Doctor answers", func(ctx context.Context) error {
			ds, err := doctor.Doctor(ctx)
			for _, x := range ds {
				if x.Name == "" || x.Detail == "" || x.Status != provider.Good && x.Status != provider.Warning && x.Status != provider.Broken {
					t.Errorf("a diagnosis has a name, a status and a detail: %+v", x)
				}
			}
			return err
		})
	}
}

// refuses checks that an ability that is not announced is not there either: a provider behind a wire has the methods of
// all, and answers Unsupported.
func (w world) refuses(t *testing.T, a provider.Ability) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	var err error
	switch a {
	case provider.Dials:
		_, err = w.p.(provider.Dialer).Dial(ctx, provider.Endpoint{Lab: w.l, Machine: "nobody", Port: 22})
	case provider.Consoles:
		_, err = w.p.(provider.Consoler).Log(ctx, w.l, "nobody", false)
	case provider.Diagnoses:
		_, err = w.p.(provider.Doctor).Doctor(ctx)
	case provider.Adopts:
		_, err = w.p.(provider.Adopter).Adoptable(ctx, w.l)
	case provider.Measures:
		_, err = w.p.(provider.Measurer).Capacity(ctx, w.l)
	case provider.Installs:
		_, err = w.p.(provider.Installer).Installations(ctx, w.l)
	case provider.Starts:
		err = w.p.(provider.Starter).StartOnce(ctx, w.l, provider.Start{Machine: "nobody", From: lab.FromDisk}, provider.Silent)
	case provider.Estimates:
		_, err = w.p.(provider.Pricer).Prices(ctx, provider.PriceQuery{})
	case provider.Expires:
		_, err = w.p.(provider.Expirer).Expired(ctx, time.Now())
	case provider.Allots:
		_, err = w.p.(provider.Quoter).Quotas(ctx, provider.QuotaQuery{})
	case provider.Filters:
		_, err = w.p.(provider.Filterer).Filter(w.l)
	case provider.Snapshots:
		_, err = w.p.(provider.Snapshotter).Snapshots(ctx, w.l)
	}
	if provider.CodeOf(err) != provider.Unsupported {
		t.Errorf("a provider announces the optional interfaces that it implements: not %s: %v", a, err)
	}
}

// consoles checks console and log of one machine.
func (w world) consoles(t *testing.T, c provider.Consoler) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	if _, err := c.Log(ctx, w.l, "nobody", false); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("Log of a machine that does not exist is not-found: %v", err)
	}
	if _, err := c.Console(ctx, w.l, "nobody"); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("Console of a machine that does not exist is not-found: %v", err)
	}
	if len(w.l.Machines) == 0 {
		return
	}
	w.converge(t)
	m := w.l.Machines[0].Name
	log, err := c.Log(ctx, w.l, m, false)
	if err != nil {
		t.Fatalf("Log shows what the console has printed: %v", err)
	}
	if _, err := io.ReadAll(log); err != nil {
		t.Errorf("Log without follow ends: %v", err)
	}
	log.Close()
	follow, err := c.Log(ctx, w.l, m, true)
	if err != nil {
		t.Fatalf("Log can be followed: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, follow)
		close(ended)
	}()
	follow.Close()
	select {
	case <-ended:
	case <-ctx.Done():
		t.Error("closing a followed log ends its reader")
	}
	w.oneClient(t, c, m)
}

// oneClient checks that a console has one client at a time.
func (w world) oneClient(t *testing.T, c provider.Consoler, m string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	one, err := c.Console(ctx, w.l, m)
	if provider.CodeOf(err) == provider.Unsupported && !strings.Contains(err.Error(), m) {
		t.Errorf("a console that cannot be used says whose, and which other way there is: %v", err)
	}
	if provider.CodeOf(err) == provider.Unsupported {
		return
	}
	if err != nil {
		t.Fatalf("Console opens: %v", err)
	}
	if two, err := c.Console(ctx, w.l, m); provider.CodeOf(err) != provider.InUse {
		t.Errorf("a console has one client at a time, a second gets in-use: %v", err)
		if err == nil {
			two.Close()
		}
	}
	one.Close()
	again, err := c.Console(ctx, w.l, m)
	if err != nil {
		t.Fatalf("a console is free when its client has left: %v", err)
	}
	again.Close()
}
