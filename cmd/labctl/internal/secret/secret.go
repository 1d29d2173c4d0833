// Package secret finds the values that a lab's secrets stand for, at the last moment: in the environment, in files, or
// in labctl's own store, where it makes those that are to be generated.
//
// It must not know what secrets are for. It never prints a value, nor puts one in an error.
package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/lab"
)

// Sources is where values come from.
type Sources struct {
	Env    func(string) (string, bool)
	Folder string  // relative files are looked for here: the spec's folder
	Store  string  // what labctl makes is kept here, mode 0600, in a folder of mode 0700
	Lab    lab.Lab // says what certificates are for
	Now    time.Time
	// ReadOnly makes it an error that a value has not been made yet; a certificate is taken as it is.
	ReadOnly bool
}

// Values returns the values of all secrets, as lab.SecretRef names them. What the store does not have is made, and a
// certificate that must be made again is: the same as Editions tells at the same Now. Of several processes that do so at
// once all get the same values.
func (s Sources) Values(secrets []lab.Secret) (map[string]string, error) {
	unlock, err := s.lock(secrets)
	if err != nil {
		return nil, err
	}
	defer unlock()
	values := map[string]string{}
	for _, x := range secrets {
		if x.Parts() != nil {
			err = s.parts(x, values)
		} else {
			values[x.Name], err = s.value(x)
		}
		if err != nil {
			return nil, fmt.Errorf("secrets.%q: %w", x.Name, err)
		}
	}
	return values, nil
}

// lock makes this the only process that makes anything for the store. It is held for a moment only.
func (s Sources) lock(secrets []lab.Secret) (unlock func(), err error) {
	if s.ReadOnly || !slices.ContainsFunc(secrets, func(x lab.Secret) bool { return x.Env == "" && x.File == "" }) {
		return func() {}, nil
	}
	if err := os.MkdirAll(s.Store, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder for secrets: %w", err)
	}
	f, err := os.Open(s.Store)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the folder for secrets: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot lock %s: %w", s.Store, err)
	}
	return func() { f.Close() }, nil
}

func (s Sources) value(x lab.Secret) (string, error) {
	switch {
	case x.Env != "":
		v, ok := s.Env(x.Env)
		if !ok || v == "" {
			return "", fmt.Errorf("the environment variable %s is not set", x.Env)
		}
		return v, nil
	case x.File != "":
		path := x.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(s.Folder, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("cannot read its file: %w", err)
		}
		return string(b), nil
	}
	return s.generated(x)
}

const notYet = "no value has been generated yet: apply does that"

// generated reads the store, or makes the value and stores it so that a crash leaves all of it or nothing.
func (s Sources) generated(x lab.Secret) (string, error) {
	path := Store(s.Store).file(generated, x.Name)
	b, err := os.ReadFile(path)
	if err == nil {
		return string(b), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("cannot read the generated value: %w", err)
	}
	if s.ReadOnly {
		return "", errors.New(notYet)
	}
	v, err := random(x.Generate)
	if err != nil {
		return "", fmt.Errorf("cannot generate a value: %w", err)
	}
	if err := store(s.Store, path, v); err != nil {
		return "", fmt.Errorf("cannot store the generated value: %w", err)
	}
	return v, nil
}

func store(folder, path, value string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, ".new-") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(value)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// alphabet has no character that a shell, YAML, a URL or an SQL text reads in a way of its own.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func random(n int) (string, error) {
	b := make([]byte, n)
	for i := range b {
		k, err := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet))))
		if err != nil {
			return "", err
		}
		b[i] = alphabet[k.Int64()]
	}
	return string(b), nil
}
