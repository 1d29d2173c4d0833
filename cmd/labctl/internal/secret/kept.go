package secret

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/certificate"
	"github.com/labctl-dev/labctl/lab"
)

// Store is the folder, of mode 0700, in which labctl keeps what is secret, each value in a file of mode 0600.
type Store string

// The beginnings of its files' names.
const (
	generated = "generated-"
	kept      = "kept-"
	certified = "certificate-"
)

// Keep keeps what a machine told once, whole or not at all. Another value of that name is not lost: it is kept as
// NAME.1, NAME.2 and so on, the last of them the newest.
func (s Store) Keep(name string, value []byte) error {
	path := s.file(kept, name)
	before, err := os.ReadFile(path)
	switch {
	case err == nil && string(before) == string(value):
		return nil
	case err == nil:
		older := path
		for n := 1; ; n++ {
			older = fmt.Sprintf("%s.%d", path, n)
			if _, err := os.Lstat(older); errors.Is(err, fs.ErrNotExist) {
				break
			}
		}
		if err := os.Link(path, older); err != nil {
			return fmt.Errorf("cannot keep what %s was before: %w", name, err)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot read what %s was before: %w", name, err)
	}
	if err := store(string(s), path, string(value)); err != nil {
		return fmt.Errorf("cannot store %s: %w", name, err)
	}
	return nil
}

// Value is what the store has under a name: kept, or generated, or with lab.SecretKey or lab.SecretCert as a part, of a
// certificate; fs.ErrNotExist if nothing is.
func (s Store) Value(name string) ([]byte, error) {
	if name, part := lab.SecretRef(name).Split(); part == lab.SecretKey || part == lab.SecretCert {
		return s.part(name, part)
	}
	for _, kind := range []string{kept, generated} {
		b, err := os.ReadFile(s.file(kind, name))
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return b, err
		}
	}
	return nil, fs.ErrNotExist
}

func (s Store) part(name, part string) ([]byte, error) {
	text, err := os.ReadFile(s.file(certified, name))
	if err != nil {
		return nil, err
	}
	p, err := certificate.Decode(string(text))
	if err != nil {
		return nil, err
	}
	if part == lab.SecretCert {
		return []byte(p.Cert()), nil
	}
	key, err := p.Key()
	return []byte(key), err
}

// Names are those of all values in the store, sorted.
func (s Store) Names() ([]string, error) {
	entries, err := os.ReadDir(string(s))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot list the secrets: %w", err)
	}
	var out []string
	for _, e := range entries {
		for _, kind := range []string{kept, generated, certified} {
			name, ok := strings.CutPrefix(e.Name(), kind)
			name = strings.NewReplacer("%25", "%", "%2F", "/").Replace(name)
			switch {
			case ok && kind == certified:
				out = append(out, name+"#"+lab.SecretCert, name+"#"+lab.SecretKey)
			case ok:
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func (s Store) file(kind, name string) string {
	return filepath.Join(string(s), kind+strings.NewReplacer("%", "%25", "/", "%2F").Replace(name))
}
