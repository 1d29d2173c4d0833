// Package fetch is a stub.
package fetch

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Digest is what a download must have.
type Digest struct{ Algorithm, Hex string }

func (d Digest) String() string { return d.Algorithm + ":" + d.Hex }

// ParseDigest reads "sha256:<hex>" or "sha512:<hex>".
func ParseDigest(s string) (Digest, error) {
	algorithm, text, _ := strings.Cut(s, ":")
	want := map[string]int{"sha256": 32, "sha512": 64}[algorithm]
	if b, err := hex.DecodeString(text); err != nil || want == 0 || len(b) != want {
		return Digest{}, fmt.Errorf("digest %q is no \"sha256:\" or \"sha512:\" with as many hex digits as it takes", s)
	}
	return Digest{algorithm, strings.ToLower(text)}, nil
}

// Error is why a download failed.
type Error struct {
	Reason Reason
	Text   string
	Err    error
}

// Reason is the class of an Error.
type Reason string

func (e *Error) Error() string { return e.Text }
func (e *Error) Unwrap() error { return e.Err }
