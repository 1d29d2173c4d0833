// Package access reaches a running machine: ssh with a key and host keys that labctl made, so that the first
// connection is verified already; commands, copies, and the system's own ssh for people.
//
// It must not know what a lab is, how a stream to a machine is opened (Dial is given to it), or what is run there.
package access

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	keyFile  = "lab.key"
	keyBytes = 32
)

// Identity is a lab's root of trust: 32 random bytes from which the client's key and every machine's host key follow,
// all ed25519. Its value is a secret.
type Identity struct {
	root [keyBytes]byte
}

// LoadIdentity returns the identity kept in dir/lab.key (mode 0600) and makes it, and dir (mode 0700), if it is not
// there. Two processes that do so at once get the same one.
func LoadIdentity(dir string) (Identity, error) {
	var id Identity
	path := filepath.Join(dir, keyFile)
	for range 2 {
		b, err := os.ReadFile(path)
		if err == nil {
			if len(b) != keyBytes {
				return id, fmt.Errorf("cannot use the lab's key %s: it has %d bytes, not %d", path, len(b), keyBytes)
			}
			return Identity{[keyBytes]byte(b)}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return id, fmt.Errorf("cannot read the lab's key: %w", err)
		}
		if err := makeKey(dir, path); err != nil {
			return id, fmt.Errorf("cannot make the lab's key: %w", err)
		}
	}
	return id, fmt.Errorf("cannot read the lab's key %s: somebody removes it", path)
}

// makeKey puts a whole key at path, unless another process was first: link, unlike rename, never replaces.
func makeKey(dir, path string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, keyFile+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	key := make([]byte, keyBytes)
	rand.Read(key) // never fails (crypto/rand)
	_, err = f.Write(key)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// key derives a key by name (RFC 5869 with SHA-256).
func (id Identity) key(name string) ed25519.PrivateKey {
	seed, err := hkdf.Key(sha256.New, id.root[:], nil, "labctl/1 "+name, ed25519.SeedSize)
	if err != nil {
		panic(err) // only for lengths above 8160 bytes
	}
	return ed25519.NewKeyFromSeed(seed)
}

func (id Identity) signer(name string) ssh.Signer {
	s, err := ssh.NewSignerFromKey(id.key(name))
	if err != nil {
		panic(err) // only for types of key that x/crypto/ssh does not know
	}
	return s
}

const client = "client"

func host(machine string) string { return "host " + machine }

// Authorized is the line for a machine's authorized_keys that lets this identity in.
func (id Identity) Authorized(comment string) string {
	return line(id.signer(client).PublicKey()) + " " + comment
}

// HostKey is the machine's ssh host key: the private half as OpenSSH PEM, the public half as one line. The same
// machine gets the same bytes each time.
func (id Identity) HostKey(machine string) (private, public string) {
	return openSSH(id.key(host(machine)), machine), line(id.HostPublic(machine)) + " " + machine
}

// HostPublic is what the machine must prove to be.
func (id Identity) HostPublic(machine string) ssh.PublicKey {
	return id.signer(host(machine)).PublicKey()
}

// KnownHost is the machine's line for a known_hosts file, under the names that ssh is told to look for.
func (id Identity) KnownHost(machine string, names ...string) string {
	return strings.Join(names, ",") + " " + line(id.HostPublic(machine))
}

// WritePrivate writes the client's private key for the system's ssh to path, mode 0600, whole or not at all.
func (id Identity) WritePrivate(path string) error {
	return writeFile(path, []byte(openSSH(id.key(client), "labctl")))
}

// writeFile writes a file of mode 0600, whole or not at all; it does nothing where the file has that content.
func writeFile(path string, text []byte) error {
	if have, err := os.ReadFile(path); err == nil && string(have) == string(text) {
		return os.Chmod(path, 0o600)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

func line(k ssh.PublicKey) string { return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) }

// openSSH is a private key in the format of openssh/PROTOCOL.key, unencrypted. ssh.MarshalPrivateKey would do, but
// puts a random number in it, and a seed must have the same bytes each time.
func openSSH(key ed25519.PrivateKey, comment string) string {
	public := []byte(key.Public().(ed25519.PublicKey))
	check := sha256.Sum256(key)
	number := uint32(check[0])<<24 | uint32(check[1])<<16 | uint32(check[2])<<8 | uint32(check[3])
	private := ssh.Marshal(struct {
		Check1, Check2 uint32
		Type           string
		Public         []byte
		Private        []byte
		Comment        string
	}{number, number, ssh.KeyAlgoED25519, public, key, comment})
	for i := byte(1); len(private)%8 != 0; i++ {
		private = append(private, i)
	}
	body := ssh.Marshal(struct {
		Cipher, KDF, Options string
		Keys                 uint32
		Public, Private      []byte
	}{"none", "none", "", 1, ssh.Marshal(struct {
		Type   string
		Public []byte
	}{ssh.KeyAlgoED25519, public}), private})
	return string(pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: append([]byte("openssh-key-v1\x00"), body...)}))
}
