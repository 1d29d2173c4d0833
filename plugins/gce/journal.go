package gce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/files"
)

// journal remembers the names of what was made through an API that lists nothing, since nobody else could tell of what is
// in the spec no more. It is no state: each name is asked for, and what the project says counts. Where the API lists, it is
// never written.
type journal struct {
	home, target string
	mu           sync.Mutex
	lists        map[string]bool // by collection: whether it can be listed, as far as that is known
}

func newJournal(home, target string) *journal {
	return &journal{home: home, target: target, lists: map[string]bool{}}
}

func (j *journal) folder(lab string) string {
	return filepath.Join(j.home, "labs", lab, "targets", j.target)
}

func (j *journal) file(lab string) string { return filepath.Join(j.folder(lab), "gce-names.json") }

// names are those that were written down for a lab.
func (j *journal) names(lab string) ([]provider.Addr, error) {
	b, err := os.ReadFile(j.file(lab))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []provider.Addr
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("the list of what was made: %w", err)
	}
	return all, nil
}

// add writes a name down.
func (j *journal) add(lab string, a provider.Addr) error {
	return j.change(lab, func(all []provider.Addr) []provider.Addr {
		if slices.Contains(all, a) {
			return all
		}
		return append(all, a)
	})
}

// remove strikes a name out, and removes the list with the last one.
func (j *journal) remove(lab string, a provider.Addr) error {
	return j.change(lab, func(all []provider.Addr) []provider.Addr {
		return slices.DeleteFunc(all, func(x provider.Addr) bool { return x == a })
	})
}

func (j *journal) change(lab string, edit func([]provider.Addr) []provider.Addr) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	before, err := j.names(lab)
	if err != nil {
		return err
	}
	after := edit(slices.Clone(before))
	switch {
	case slices.Equal(before, after):
		return nil
	case len(after) == 0:
		if err := os.Remove(j.file(lab)); err != nil {
			return err
		}
		os.Remove(j.folder(lab)) // if it is empty now
		os.Remove(filepath.Dir(j.folder(lab)))
		return nil
	}
	b, err := json.Marshal(after)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(j.folder(lab), 0o700); err != nil {
		return err
	}
	return files.Write(j.file(lab), b, 0o600)
}

// note writes down what is about to be made in a collection that cannot be listed.
func (g *gce) note(ctx context.Context, lab string, a provider.Addr) error {
	collection := g.collection(a.Kind)
	g.journal.mu.Lock()
	can, known := g.journal.lists[collection]
	g.journal.mu.Unlock()
	if !known {
		var err error
		if can, err = g.canList(ctx, a.Kind); err != nil {
			return err
		}
		g.listable(collection, can)
	}
	if can {
		return nil
	}
	return g.journal.add(lab, a)
}

// canList finds out whether things of a kind can be listed.
func (g *gce) canList(ctx context.Context, kind string) (bool, error) {
	ignore := func(json.RawMessage) error { return nil }
	var err error
	if kind == kindZone || kind == kindRecord {
		err = g.dns.Zones(ctx, "none.invalid.", ignore)
	} else {
		err = g.client.List(ctx, g.collection(kind), "name=none", ignore)
	}
	if api.Is(err, api.Unsupported) {
		return false, nil
	}
	return err == nil, err
}

// listable remembers whether a collection can be listed.
func (g *gce) listable(collection string, can bool) {
	g.journal.mu.Lock()
	defer g.journal.mu.Unlock()
	g.journal.lists[collection] = can
}
