package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
	"github.com/labctl-dev/labctl/engine/plan"
	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/lab"
)

// secrets are the values of the secrets that the lab's machines use; readOnly makes none.
func (r *road) secrets(readOnly bool) (map[string]string, error) {
	return r.sources(readOnly).Values(r.used())
}

func (r *road) sources(readOnly bool) secret.Sources {
	return secret.Sources{Env: os.LookupEnv, Folder: r.flags.folder(), Store: r.secretsFolder(), Lab: r.lab, Now: r.now, ReadOnly: readOnly}
}

// used are the secrets that files of the lab's machines refer to, and the authorities of those.
func (r *road) used() []lab.Secret {
	used := map[string]bool{}
	for _, m := range r.lab.Machines {
		for _, ref := range m.Guest.Secrets() {
			name, _ := ref.Split()
			used[name] = true
		}
		for name := range r.lab.Certificates(m) {
			used[name] = true
		}
	}
	var list []lab.Secret
	for _, s := range r.lab.Secrets {
		if used[s.Name] {
			list = append(list, s)
		}
	}
	return list
}

// edit gives the lab's certificates the editions that apply would give to machines now, and returns for each machine why
// one of its is made again.
func (r *road) edit() (why map[string]string, err error) {
	editions, err := r.sources(false).Editions(r.used())
	if err != nil {
		return nil, err
	}
	r.lab.Secrets = slices.Clone(r.lab.Secrets)
	for i := range r.lab.Secrets {
		r.lab.Secrets[i].Edition = editions[r.lab.Secrets[i].Name].Edition
	}
	why = map[string]string{}
	for _, m := range r.lab.Machines {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(r.lab.Certificates(m))) {
			if e := editions[name]; e.Why != "" {
				all = append(all, e.Why)
			}
		}
		if len(all) > 0 {
			why[m.Name] = strings.Join(all, ", ")
		}
	}
	return why, nil
}

// ours says whether the lab's keys are on this host: it was applied from here.
func (r *road) ours() bool {
	_, err := os.Stat(filepath.Join(r.secretsFolder(), "lab.key"))
	return err == nil
}

// believe takes the certificates in machines to be good where the lab was applied from another host, which alone can
// judge them.
func (r *road) believe(ctx context.Context, seeds map[string]lab.Seed) error {
	if r.ours() || !slices.ContainsFunc(r.used(), func(s lab.Secret) bool { return s.Parts() != nil }) {
		return nil
	}
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return err
	}
	for _, o := range observed {
		s, ok := seeds[o.Machine]
		k, _ := r.engine.Description.Kind(o.Addr.Kind)
		digest, has := o.Attrs["digest"].(string)
		if !ok || !k.Guest || !has {
			continue
		}
		spec, _ := guest.SplitDigest(s.Digest)
		_, editions := guest.SplitDigest(digest)
		s.Digest = spec + editions
		seeds[o.Machine] = s
	}
	return nil
}

// owned refuses to make keys and secrets for a lab of which machines exist that have others, and keep them by p.
func (r *road) owned(ctx context.Context, p plan.Plan) error {
	if r.ours() {
		return nil
	}
	observed, err := r.engine.Observe(ctx, r.lab)
	if err != nil {
		return err
	}
	for _, o := range observed {
		k, _ := r.engine.Description.Kind(o.Addr.Kind)
		goes := slices.ContainsFunc(p.Changes, func(c plan.Change) bool { return c.Addr == o.Addr && c.Action.Removes() })
		if k.Machine && !o.Adopted && !goes {
			return fmt.Errorf("machine %s of lab %s exists on target %s, but was not made from here: its keys, certificates and generated "+
				"secrets are in $LABCTL_HOME/labs/%[2]s/secrets of the host where it was made; copy that folder to %[4]s", o.Machine, r.lab.Name, r.lab.Target, r.secretsFolder())
		}
	}
	return nil
}
