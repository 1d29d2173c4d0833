package memory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// memory implements provider.Provider, and of the optional interfaces all but Dialer.
type memory struct {
	options provider.Options
	faults  *faults
	turn    chan struct{} // holds one token: writers of this process queue here rather than at the file's lock

	mu       sync.Mutex
	consoles map[string]bool   // machines whose console is open
	worlds   map[string]*world // by folder
}

func open(o provider.Options) (provider.Provider, error) {
	if !filepath.IsAbs(o.Home) || o.Target == "" {
		return nil, &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("home %q must be an absolute path, target %q a name", o.Home, o.Target)}
	}
	f, err := newFaults(o.Values)
	if err != nil {
		return nil, &provider.Error{Code: provider.Invalid, Text: err.Error()}
	}
	if _, err := f.at(context.Background(), "new"); err != nil {
		return nil, err
	}
	return &memory{
		options: o, faults: f, turn: make(chan struct{}, 1),
		consoles: map[string]bool{}, worlds: map[string]*world{},
	}, nil
}

// Observe implements provider.Provider.
func (p *memory) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	after, err := p.faults.at(ctx, "observe")
	if err != nil {
		return nil, err
	}
	defer after()
	objects, err := p.world(l.Name).read()
	if err != nil {
		return nil, provider.Wrap("observe", provider.Addr{}, err)
	}
	if err := p.adopted(l, objects); err != nil {
		return nil, provider.Wrap("observe", provider.Addr{}, err)
	}
	for _, i := range l.Images {
		shared, err := p.images(i.Name).read()
		if err != nil {
			return nil, provider.Wrap("observe", addr(image, i.Name), err)
		}
		for a, o := range shared {
			objects[a] = o
		}
	}
	found := make([]provider.Observed, 0, len(objects))
	for _, o := range objects {
		found = append(found, o)
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Addr.Compare(found[j].Addr) < 0 })
	return found, nil
}

// Create implements provider.Provider.
func (p *memory) Create(ctx context.Context, r provider.Resource, progress provider.Progress) error {
	if r.Adopted {
		return p.adopt(ctx, r, progress)
	}
	return p.change(ctx, "create", r.Addr, r.Lab, progress, func(objects map[string]provider.Observed) error {
		if _, ok := objects[r.Addr.String()]; ok {
			return nil
		}
		for _, n := range r.Needs {
			if _, ok := objects[n.String()]; !ok && n.Kind != image {
				return &provider.Error{Code: provider.NotFound, Text: n.String() + " does not exist"}
			}
		}
		o := provider.Observed{Addr: r.Addr, Lab: r.Lab, Attrs: r.Attrs, Needs: r.Needs, Machine: r.Machine, Shared: r.Addr.Kind == image}
		if r.Addr.Kind == machine && r.Attrs["power"] != string(lab.Off) {
			o.Outputs = boots(0)
		}
		if at := p.expires(); at != "" && r.Addr.Kind == machine {
			o.Outputs = maps.Clone(o.Outputs)
			if o.Outputs == nil {
				o.Outputs = map[string]string{}
			}
			o.Outputs["expires"] = at
		}
		objects[r.Addr.String()] = o
		return nil
	})
}

// Update implements provider.Provider.
func (p *memory) Update(ctx context.Context, o provider.Observed, r provider.Resource, progress provider.Progress) error {
	if r.Adopted {
		return p.updateAdopted(ctx, r, progress)
	}
	return p.change(ctx, "update", r.Addr, r.Lab, progress, func(objects map[string]provider.Observed) error {
		now, ok := objects[r.Addr.String()]
		if !ok {
			return &provider.Error{Code: provider.NotFound, Text: "it does not exist"}
		}
		if r.Addr.Kind == machine && reboots(now.Attrs, r.Attrs) {
			n, _ := strconv.Atoi(now.Outputs["boots"])
			now.Outputs = boots(n)
		}
		now.Attrs, now.Needs = r.Attrs, r.Needs
		objects[r.Addr.String()] = now
		return nil
	})
}

// Delete implements provider.Provider.
func (p *memory) Delete(ctx context.Context, o provider.Observed, progress provider.Progress) error {
	if o.Adopted {
		return p.release(ctx, o, progress)
	}
	return p.change(ctx, "delete", o.Addr, o.Lab, progress, func(objects map[string]provider.Observed) error {
		if there, ok := objects[o.Addr.String()]; ok && o.Attrs["protect"] == true && o.Addr.Kind == disk {
			if err := p.keep(there, progress); err != nil {
				return err
			}
		}
		delete(objects, o.Addr.String())
		if o.Addr.Kind != disk {
			return nil
		}
		return p.world(o.Lab).dropFromSnapshots(o.Addr.String())
	})
}

// change is the one way in which the world changes.
func (p *memory) change(ctx context.Context, op string, a provider.Addr, owner string, progress provider.Progress,
	edit func(map[string]provider.Observed) error,
) error {
	if _, ok := describe().Kind(a.Kind); !ok || a.Provider != "memory" {
		return &provider.Error{Op: op, Addr: a, Code: provider.Invalid, Text: "the memory provider has no such kind"}
	}
	w, err := p.home(a, owner)
	if err != nil {
		return provider.Wrap(op, a, err)
	}
	return p.changeIn(ctx, w, op, a, a, progress, edit)
}

// changeIn changes in w what is there called there, and elsewhere a.
func (p *memory) changeIn(ctx context.Context, w *world, op string, a, there provider.Addr, progress provider.Progress,
	edit func(map[string]provider.Observed) error,
) error {
	progress(provider.Step{Phase: map[string]string{"create": "creating", "update": "changing", "delete": "deleting", "adopt": "adopting", "release": "releasing", "start": "starting over"}[op]})
	after, err := p.faults.change(ctx, op, a)
	if err != nil {
		return provider.Wrap(op, a, err)
	}
	defer after()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return provider.Wrap(op, a, ctx.Err())
	}
	if op == "delete" { // so that deleting what is not there leaves no folder behind
		if _, err := os.Stat(w.folder); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return provider.Wrap(op, a, w.change(ctx, there, edit))
}

// home is the world that a thing lives in: its lab's, or for images one of its own that all labs share.
func (p *memory) home(a provider.Addr, owner string) (*world, error) {
	if a.Kind == image {
		return p.images(a.Name), nil
	}
	if owner == "" || owner != filepath.Base(owner) {
		return nil, &provider.Error{Code: provider.Invalid, Text: fmt.Sprintf("its owner is %q, no lab's name", owner)}
	}
	return p.world(owner), nil
}

func (p *memory) world(labName string) *world {
	return p.at(filepath.Join(p.options.Home, "labs", labName, "targets", p.options.Target))
}

func (p *memory) images(name string) *world {
	return p.at(filepath.Join(p.options.Home, "cache", "memory", name))
}

func (p *memory) at(folder string) *world {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.worlds[folder] == nil {
		p.worlds[folder] = &world{folder: folder}
	}
	return p.worlds[folder]
}

// reboots says whether the machine stops or starts on the way from a to b.
func reboots(a, b provider.Attrs) bool {
	k, _ := describe().Kind(machine)
	for _, name := range []string{"cpus", "firmware", "memory", "power"} {
		if a[name] != b[name] && k.Attrs[name].Cost(a[name], b[name]) == provider.Reboot {
			return true
		}
	}
	return false
}

// boots is what is shown of a machine that had booted n times before.
func boots(n int) map[string]string { return map[string]string{"boots": strconv.Itoa(n + 1)} }
