package providertest

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// installs checks that installations can be asked for where there are none.
func (w world) installs(t *testing.T, i provider.Installer) {
	t.Helper()
	w.call(t, "Installations answers", func(ctx context.Context) error {
		all, err := i.Installations(ctx, w.l)
		if !slices.IsSortedFunc(all, func(a, b provider.Installation) int { return strings.Compare(a.Machine, b.Machine) }) {
			t.Errorf("installations are sorted by machine: %+v", all)
		}
		for _, x := range all {
			if m, ok := w.l.Machine(x.Machine); !ok || m.Name == "" {
				t.Errorf("installations are of the lab's machines: %+v", x)
			}
		}
		return err
	})
}

// starts checks that a start from somewhere else is one start and no more, and leaves nothing to observe.
func (w world) starts(t *testing.T, s provider.Starter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), w.o.Deadline)
	defer cancel()
	err := s.StartOnce(ctx, w.l, provider.Start{Machine: "nobody", From: lab.FromDisk}, provider.Silent)
	if provider.CodeOf(err) != provider.NotFound {
		t.Errorf("StartOnce of a machine that does not exist is not-found: %v", err)
	}
	m, ok := w.starter()
	if !ok {
		return
	}
	w.converge(t)
	w.call(t, "StartOnce starts a machine from its disk", func(ctx context.Context) error {
		return s.StartOnce(ctx, w.l, provider.Start{Machine: m.Name, From: lab.FromDisk}, provider.Silent)
	})
	w.law(t, "after a start from the disk", w.desired(t))
	from := lab.FromNetwork + ":" + lab.Boot(m.NICs[0].Network)
	err = s.StartOnce(ctx, w.l, provider.Start{Machine: m.Name, From: from}, provider.Silent)
	if err != nil && provider.CodeOf(err) != provider.Unsupported {
		t.Errorf("StartOnce starts a machine from a network, or says why it cannot: %v", err)
	}
	w.law(t, "after a start from a network", w.desired(t))
}

// starter is a machine of the lab to start over: one with firmware that asks what to start from, if there is one.
func (w world) starter() (lab.Machine, bool) {
	var best lab.Machine
	for _, m := range w.l.Machines {
		if len(m.NICs) > 0 && m.Ours() && (best.Name == "" || best.Firmware == lab.Kernel) {
			best = m
		}
	}
	return best, best.Name != ""
}
