package fetch

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Digest is what the bytes of a file must come to.
type Digest struct {
	Algorithm string // "sha256" or "sha512"
	Hex       string // lower case
}

func (d Digest) String() string { return d.Algorithm + ":" + d.Hex }

// ParseDigest reads "sha256:<hex>" or "sha512:<hex>".
func ParseDigest(s string) (Digest, error) {
	algorithm, text, _ := strings.Cut(s, ":")
	d := Digest{algorithm, strings.ToLower(text)}
	h := d.hash()
	if h == nil {
		return Digest{}, fmt.Errorf("digest %q is neither \"sha256:<hex>\" nor \"sha512:<hex>\"", s)
	}
	if b, err := hex.DecodeString(text); err != nil || len(b) != h.Size() {
		return Digest{}, fmt.Errorf("digest %q has not the %d hex digits of a %s", s, 2*h.Size(), algorithm)
	}
	return d, nil
}

func (d Digest) hash() hash.Hash {
	switch d.Algorithm {
	case "sha256":
		return sha256.New()
	case "sha512":
		return sha512.New()
	}
	return nil
}
