package providertest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// snapshotted checks the ability to take snapshots: what they hold as far as it can be observed from outside. What is
// written on disks is for each provider's own tests.
func snapshotted(t *testing.T, o Options) {
	if len(o.Lab.Machines) == 0 {
		t.Skip("the lab has no machines")
	}
	w, options := o.world(t)
	s := w.p.(provider.Snapshotter) // the caller has seen to that
	t.Cleanup(func() { w.clear(t) })
	w.wantSnapshots(t, s)
	now := time.Now().UTC().Truncate(time.Millisecond)
	one := provider.Snapshot{Name: "one", Taken: now, Note: "before it \"changed\"\nto <this>"}
	if err := w.take(s, one); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("TakeSnapshot of a lab none of whose machines exist is not-found: %v", err)
	}
	w.wantSnapshots(t, s)
	o.gone(t, options)

	w.converge(t)
	want := w.desired(t)
	for _, name := range []string{"", "a/b", "..", ".x", "-x", "a b", "ä", string(make([]byte, 8)), string(slices.Repeat([]byte("n"), 64))} {
		if err := w.take(s, provider.Snapshot{Name: name, Taken: now}); provider.CodeOf(err) != provider.Invalid {
			t.Errorf("TakeSnapshot under a name that is none is invalid: %q: %v", name, err)
		}
	}
	w.call(t, "TakeSnapshot takes one", func(ctx context.Context) error { return s.TakeSnapshot(ctx, w.l, one, provider.Silent) })
	w.law(t, "after a snapshot was taken", want)
	if err := w.take(s, one); provider.CodeOf(err) != provider.Invalid {
		t.Errorf("TakeSnapshot under a name that is taken is invalid: %v", err)
	}
	two := provider.Snapshot{Name: "2.two_" + string(slices.Repeat([]byte("n"), 57)), Taken: now.Add(-time.Hour)}
	w.call(t, "TakeSnapshot takes another one", func(ctx context.Context) error { return s.TakeSnapshot(ctx, w.l, two, provider.Silent) })
	one.Machines, one.Complete, two.Machines, two.Complete = machines(w.l), true, machines(w.l), true
	w.wantSnapshots(t, s, two, one)
	stranger := w.l
	stranger.Name = "another"
	(world{o, w.p, stranger}).wantSnapshots(t, s)
	w.p = o.open(t, options)
	s = w.p.(provider.Snapshotter)
	w.wantSnapshots(t, s, two, one)

	w.restored(t, s, one)
	w.wantSnapshots(t, s, two, one)
	for range 2 {
		w.call(t, "RemoveSnapshot makes it not exist, and absent already is success", func(ctx context.Context) error {
			return s.RemoveSnapshot(ctx, w.l, two.Name, provider.Silent)
		})
	}
	w.wantSnapshots(t, s, one)
	w.torn(t, s, one)
	w.clear(t)
	o.gone(t, options)
}

// restored changes the lab, and checks what comes back with a snapshot of it as it was.
func (w world) restored(t *testing.T, s provider.Snapshotter, one provider.Snapshot) {
	t.Helper()
	was := w.observed(t)
	changed := clone(w.l)
	last := &changed.Machines[len(changed.Machines)-1]
	for i := range last.Disks {
		last.Disks[i].Size += lab.GiB
	}
	last.Disks = append(last.Disks, lab.Disk{Name: "since", Size: lab.GiB})
	last.Guest.Files = append(last.Guest.Files, lab.File{Path: "/etc/since", Text: "x", Mode: "0644", Owner: "root", Group: "root"})
	after := world{w.o, w.p, changed}
	after.converge(t)
	want := after.desired(t)
	after.law(t, "after a lab with snapshots was changed", want)

	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	if err := s.RestoreSnapshot(ctx, changed, "nobody", provider.Silent); provider.CodeOf(err) != provider.NotFound {
		t.Errorf("RestoreSnapshot of what there is not is not-found: %v", err)
	}
	after.law(t, "after a snapshot that there is not was restored", want)
	for range 2 { // repeating it is right
		said := ""
		w.call(t, "RestoreSnapshot brings it back", func(ctx context.Context) error {
			return s.RestoreSnapshot(ctx, changed, one.Name, func(s provider.Step) { said += s.Note })
		})
		if name := last.Name + "/since"; !strings.Contains(said, name) {
			t.Errorf("RestoreSnapshot names what it leaves alone: not %s in %q", name, said)
		}
		w.wantRestored(t, was, after.observed(t))
	}
	after.converge(t)
	after.law(t, "after a snapshot was restored", want)
	w.call(t, "RestoreSnapshot brings it back again", func(ctx context.Context) error {
		return s.RestoreSnapshot(ctx, changed, one.Name, provider.Silent)
	})
	w.converge(t)
	w.law(t, "after a snapshot was restored, and the lab was what it had been", w.desired(t))
}

// wantRestored checks that machines are off, that disks and what is known of the insides are as they were, and that
// nothing else is there but what was made since.
func (w world) wantRestored(t *testing.T, was, now []provider.Observed) {
	t.Helper()
	d := w.o.Plugin.Description
	have := map[provider.Addr]provider.Observed{}
	for _, x := range now {
		have[x.Addr] = x
		if k, _ := d.Kind(x.Addr.Kind); k.Machine && x.Attrs["power"] != string(lab.Off) {
			t.Errorf("RestoreSnapshot powers machines off: %s is %v", x.Addr, x.Attrs["power"])
		}
	}
	since := false
	for a := range have {
		since = since || a.Name == w.l.Machines[len(w.l.Machines)-1].Name+"/since"
	}
	if !since {
		t.Error("RestoreSnapshot leaves alone what the snapshot does not hold: a disk that was made since is gone")
	}
	for _, x := range was {
		k, _ := d.Kind(x.Addr.Kind)
		if !k.Data && !k.Guest {
			continue
		}
		if diff := cmp.Diff(x.Attrs, have[x.Addr].Attrs); diff != "" {
			t.Errorf("RestoreSnapshot makes disks, and what is known of the insides, what they were: %s (-was +is):\n%s", x.Addr, diff)
		}
	}
}

// torn makes a disk anew: a snapshot loses the part that was of it, unless the provider keeps its parts apart from disks,
// and then says that it is complete and brings it back.
func (w world) torn(t *testing.T, s provider.Snapshotter, one provider.Snapshot) {
	t.Helper()
	d := w.o.Plugin.Description
	last := w.l.Machines[len(w.l.Machines)-1].Name
	var gone []provider.Observed
	for _, x := range w.observed(t) {
		if k, _ := d.Kind(x.Addr.Kind); x.Machine == last && (k.Data || k.Machine || k.Guest) {
			gone = append(gone, x)
		}
	}
	w.remove(t, gone...)
	one.Complete = w.complete(t, s, one.Name)
	w.wantSnapshots(t, s, one)
	want := w.desired(t)
	w.converge(t)
	w.law(t, "after a machine was remade that a snapshot holds", want)
	w.wantSnapshots(t, s, one)
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	switch err := s.RestoreSnapshot(ctx, w.l, one.Name, provider.Silent); {
	case one.Complete && err != nil:
		t.Errorf("RestoreSnapshot of one that has lost nothing brings it back: %v", err)
	case one.Complete:
		w.converge(t)
	case provider.CodeOf(err) != provider.Invalid:
		t.Errorf("RestoreSnapshot of one that lost a part is invalid: %v", err)
	}
	w.law(t, "after restoring was tried", want)
	if err := w.take(s, one); provider.CodeOf(err) != provider.Invalid {
		t.Errorf("TakeSnapshot under the name of one that is incomplete is invalid: %v", err)
	}
	w.call(t, "RemoveSnapshot removes one that is incomplete", func(ctx context.Context) error {
		return s.RemoveSnapshot(ctx, w.l, one.Name, provider.Silent)
	})
	w.wantSnapshots(t, s)
	w.law(t, "after a snapshot was removed", want)
	w.call(t, "TakeSnapshot takes one again", func(ctx context.Context) error { return s.TakeSnapshot(ctx, w.l, one, provider.Silent) })
	one.Complete = true
	w.wantSnapshots(t, s, one) // deleting the lab with it is the caller's next step
}

// complete says whether a snapshot is listed as one that has all its parts.
func (w world) complete(t *testing.T, s provider.Snapshotter, name string) bool {
	t.Helper()
	var all []provider.Snapshot
	w.call(t, "Snapshots lists them", func(ctx context.Context) (err error) {
		all, err = s.Snapshots(ctx, w.l)
		return err
	})
	return slices.ContainsFunc(all, func(x provider.Snapshot) bool { return x.Name == name && x.Complete })
}

func (w world) take(s provider.Snapshotter, one provider.Snapshot) error {
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	return s.TakeSnapshot(ctx, w.l, one, provider.Silent)
}

// wantSnapshots checks what is listed. Sizes are the provider's own affair.
func (w world) wantSnapshots(t *testing.T, s provider.Snapshotter, want ...provider.Snapshot) {
	t.Helper()
	var got []provider.Snapshot
	w.call(t, "Snapshots lists them", func(ctx context.Context) (err error) {
		got, err = s.Snapshots(ctx, w.l)
		return err
	})
	for i := range got {
		got[i].Size = 0
	}
	if diff := cmp.Diff(append([]provider.Snapshot{}, want...), append([]provider.Snapshot{}, got...)); diff != "" {
		t.Errorf("Snapshots lists those of the lab, oldest first (-want +got):\n%s", diff)
	}
}

// machines are the names of a lab's, sorted.
func machines(l lab.Lab) []string {
	var names []string
	for _, m := range l.Machines {
		names = append(names, m.Name)
	}
	slices.Sort(names)
	return names
}
