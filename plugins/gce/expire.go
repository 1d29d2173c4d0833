package gce

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// A target's ttl becomes the longest run of each instance, which the cloud itself ends: it is stopped then, and not
// deleted, so that what is on its disks is there until somebody has looked at the list of labctl gc.

// limits of a run: https://cloud.google.com/compute/docs/instances/limit-vm-runtime.
const (
	minTTL = 30 * time.Second
	maxTTL = 120 * 24 * time.Hour
)

// scheduling is what an instance asks for beside its size; nil is the cloud's own choice.
func scheduling(a machineAttrs) *api.Scheduling {
	var s api.Scheduling
	if a.GPUs != "" {
		s.OnMaintenance = "TERMINATE" // they cannot move to another host
	}
	if d, err := time.ParseDuration(a.TTL); err == nil && d > 0 {
		s.MaxRun, s.Termination = &api.Duration{Seconds: int64(d / time.Second)}, "STOP"
	}
	if s == (api.Scheduling{}) {
		return nil
	}
	return &s
}

// ttlOf is the longest run of an instance, as attributes say it; "" is for ever.
func ttlOf(i api.Instance) string {
	if i.Scheduling == nil || i.Scheduling.MaxRun == nil || i.Scheduling.MaxRun.Seconds == 0 {
		return ""
	}
	return (time.Duration(i.Scheduling.MaxRun.Seconds) * time.Second).String()
}

// ends is when an instance has to have stopped: its ttl after its last start; false if it may run for ever.
func ends(i api.Instance) (time.Time, bool) {
	ttl, err := time.ParseDuration(ttlOf(i))
	started, err2 := time.Parse(time.RFC3339, i.Started)
	if err != nil || err2 != nil {
		return time.Time{}, false
	}
	return started.Add(ttl), true
}

// ttl changes the longest run, for which the instance is stopped.
func (f *fitting) ttl(ctx context.Context) error {
	if ttlOf(f.now) == f.attrs.TTL {
		return nil
	}
	if err := f.goTo(ctx, lab.Off); err != nil {
		return err
	}
	s := scheduling(f.attrs)
	if s == nil {
		s = &api.Scheduling{}
	}
	return f.g.client.Change(ctx, http.MethodPost, f.at+"/setScheduling", nil, s)
}

// Expired implements provider.Expirer: labs all of whose instances in the target's zone had a ttl that is over, and none
// of which runs. Where instances cannot be listed, the labs are those of this target
// that this host has made.
func (g *gce) Expired(ctx context.Context, now time.Time) ([]provider.Remnant, error) {
	const op = "look for expired labs"
	if err := ctx.Err(); err != nil {
		return nil, provider.Wrap(op, provider.Addr{}, err)
	}
	found := map[owner]*provider.Remnant{}
	alive := map[owner]bool{}
	err := g.instances(ctx, func(i api.Instance) error {
		o := owner{i.Labels[labelLab], i.Labels[labelTarget]}
		if !o.ownsLabels(i.Labels) || o.lab == "" || o.target == "" {
			return nil
		}
		at, ok := ends(i)
		if !ok || at.After(now) || powerOf(i.Status) == lab.On {
			alive[o] = true
			return nil
		}
		r := found[o]
		if r == nil {
			r = &provider.Remnant{Lab: o.lab, Target: o.target}
			found[o] = r
		}
		r.Left += 1 + len(i.Disks)
		if at.After(r.Ended) {
			r.Ended = at
		}
		return nil
	})
	if err != nil {
		return nil, provider.Wrap(op, provider.Addr{}, failed(err))
	}
	var all []provider.Remnant
	for o, r := range found {
		if !alive[o] {
			all = append(all, *r)
		}
	}
	slices.SortFunc(all, func(a, b provider.Remnant) int {
		return cmp.Or(cmp.Compare(a.Lab, b.Lab), cmp.Compare(a.Target, b.Target))
	})
	return all, nil
}

// instances are all in the zone that some labctl made.
func (g *gce) instances(ctx context.Context, each func(api.Instance) error) error {
	err := g.client.List(ctx, g.opts.zonal("instances"), "labels."+labelLab+":*", func(raw json.RawMessage) error {
		var i api.Instance
		if err := json.Unmarshal(raw, &i); err != nil {
			return err
		}
		return each(i)
	})
	if !api.Is(err, api.Unsupported) {
		return err
	}
	labs, _ := filepath.Glob(g.journal.folder("*"))
	for _, folder := range labs {
		name := filepath.Base(filepath.Dir(filepath.Dir(folder)))
		names, err := g.journal.names(name)
		if err != nil {
			return err
		}
		for _, a := range names {
			var i api.Instance
			if a.Kind != kindMachine {
				continue
			}
			err := g.client.Get(ctx, g.path(name, a), &i)
			if err == nil {
				err = each(i)
			}
			if err != nil && !api.Is(err, api.NotFound) {
				return err
			}
		}
	}
	return nil
}
