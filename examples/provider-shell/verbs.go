package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Observe implements provider.Provider: one pass over the folders that have our mark, and the locks of their processes.
func (h *host) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap("observe", provider.Addr{}, err)
	}
	marks, err := filepath.Glob(filepath.Join(h.dir(l.Name, "*"), "*.json"))
	if err != nil {
		return nil, provider.Wrap("observe", provider.Addr{}, err)
	}
	var all []provider.Observed
	for _, mark := range marks {
		machine, kind := filepath.Base(filepath.Dir(mark)), strings.TrimSuffix(filepath.Base(mark), ".json")
		o := provider.Observed{Addr: provider.Addr{Provider: "shell", Kind: kind, Name: machine}, Lab: l.Name, Machine: machine}
		err := read(mark, &o.Attrs)
		if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, provider.Wrap("observe", o.Addr, err)
		}
		if kind == shell {
			o.Needs = []provider.Addr{{Provider: "shell", Kind: folder, Name: machine}}
			pid := running(filepath.Dir(mark))
			if o.Outputs = map[string]string{"pid": strconv.Itoa(pid)}; pid == 0 {
				o.Outputs, o.Attrs["power"] = nil, string(lab.Off) // the truth is the process, not what we wrote
			}
		}
		all = append(all, o)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Addr.Compare(all[j].Addr) < 0 })
	return all, nil
}

// Create implements provider.Provider. Repeating it is no error.
func (h *host) Create(ctx context.Context, r provider.Resource, p provider.Progress) error {
	return h.change(ctx, "create", r.Addr, p, func() error {
		dir := h.dir(r.Lab, r.Addr.Name)
		if _, err := os.Stat(filepath.Join(dir, folder+".json")); r.Addr.Kind == folder && err != nil {
			if _, err := os.Stat(dir); err == nil {
				return &provider.Error{Code: provider.Foreign, Text: dir + " is there, without our mark"}
			}
		} else if r.Addr.Kind == shell && err != nil {
			return &provider.Error{Code: provider.NotFound, Text: dir + " does not exist"}
		}
		return put(dir, r)
	})
}

// Update implements provider.Provider.
func (h *host) Update(ctx context.Context, o provider.Observed, r provider.Resource, p provider.Progress) error {
	return h.change(ctx, "update", r.Addr, p, func() error {
		dir := h.dir(r.Lab, r.Addr.Name)
		if _, err := os.Stat(filepath.Join(dir, r.Addr.Kind+".json")); err != nil {
			return &provider.Error{Code: provider.NotFound, Text: "it does not exist"}
		}
		if r.Addr.Kind == shell {
			if err := stop(ctx, dir); err != nil {
				return err
			}
		}
		return put(dir, r)
	})
}

// Delete implements provider.Provider. Absent already is success.
func (h *host) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	return h.change(ctx, "delete", o.Addr, p, func() error {
		dir := h.dir(o.Lab, o.Addr.Name)
		if o.Addr.Kind == shell {
			if err := stop(ctx, dir); err != nil {
				return err
			}
			err := os.Remove(filepath.Join(dir, shell+".json"))
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(dir)) // the target's folder, if that was the last
		return nil
	})
}

// change is what all three have in common.
func (h *host) change(ctx context.Context, op string, a provider.Addr, p provider.Progress, f func() error) error {
	if a.Kind != folder && a.Kind != shell {
		return &provider.Error{Op: op, Addr: a, Code: provider.Invalid, Text: "there is no such kind"}
	}
	if err := ctx.Err(); err != nil {
		return provider.Wrap(op, a, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p(provider.Step{Phase: map[string]string{"create": "creating", "update": "changing", "delete": "deleting"}[op]})
	return provider.Wrap(op, a, f())
}

// put writes what r should be, its mark first: what is killed in between is seen as half made, and finished by an update.
func put(dir string, r provider.Resource) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	b, err := json.Marshal(r.Attrs)
	if err != nil {
		return err
	}
	mark := filepath.Join(dir, r.Addr.Kind+".json")
	if err := os.WriteFile(mark+".new", b, 0o600); err != nil {
		return err
	}
	if err := os.Rename(mark+".new", mark); err != nil {
		return err
	}
	if r.Addr.Kind == folder {
		addresses, err := json.Marshal(r.Attrs["addresses"])
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "addresses"), addresses, 0o600)
	}
	var s shellAttrs
	if err := r.Attrs.Decode(&s); err != nil {
		return err
	}
	if s.Power == string(lab.Off) || running(dir) > 0 {
		return nil
	}
	return start(dir, r.Addr.Name, s)
}

func read(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
