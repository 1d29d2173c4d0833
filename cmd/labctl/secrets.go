package main

import (
	"os"
	"slices"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/secret"
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

// edit gives the lab's certificates the editions that apply would give to machines now.
func (r *road) edit() error {
	editions, err := r.sources(false).Editions(r.used())
	if err != nil {
		return err
	}
	r.lab.Secrets = slices.Clone(r.lab.Secrets)
	for i := range r.lab.Secrets {
		r.lab.Secrets[i].Edition = editions[r.lab.Secrets[i].Name].Edition
	}
	return nil
}
