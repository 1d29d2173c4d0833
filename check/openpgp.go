package check

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"strings"
)

// fingerprints are those of the OpenPGP keys (RFC 4880, version 4) in text, which is armored or the base64 of what is not.
// The converging program reads keys by the same rules.
func fingerprints(text string) ([]string, error) {
	data, err := unarmor(text)
	if err != nil {
		return nil, err
	}
	var out []string
	for len(data) > 0 {
		tag, body, rest, err := packet(data)
		if err != nil {
			return nil, err
		}
		data = rest
		switch {
		case tag == 5 || tag == 7:
			return nil, errors.New("it is a secret key")
		case tag != 6: // a user, a signature, a subkey
		case len(body) > 0 && body[0] == 4:
			sum := sha1.Sum(append(binary.BigEndian.AppendUint16([]byte{0x99}, uint16(len(body))), body...))
			out = append(out, strings.ToUpper(hex.EncodeToString(sum[:])))
		}
	}
	if out == nil {
		return nil, errors.New("it has no OpenPGP key of version 4")
	}
	return out, nil
}

// unarmor is the binary form of a key.
func unarmor(text string) ([]byte, error) {
	_, block, armored := strings.Cut(text, "-----BEGIN PGP PUBLIC KEY BLOCK-----")
	if armored {
		var inside bool
		if block, _, inside = strings.Cut(block, "-----END PGP PUBLIC KEY BLOCK-----"); !inside {
			return nil, errors.New("its armor has no end")
		}
		block = strings.ReplaceAll(block, "\r", "")
		if _, after, ok := strings.Cut(block, "\n\n"); ok { // after the armor's headers
			block = after
		}
		if at := strings.LastIndex(block, "\n="); at >= 0 { // the checksum
			block = block[:at]
		}
		text = block
	}
	data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, errors.New("it is neither an armored public key nor a binary one")
	}
	return data, nil
}

// packet splits the first packet off data (RFC 4880, 4.2).
func packet(data []byte) (tag byte, body, rest []byte, err error) {
	broken := errors.New("it is no OpenPGP key")
	if len(data) < 2 || data[0]&0x80 == 0 {
		return 0, nil, nil, broken
	}
	head, size := 0, 0
	if data[0]&0x40 != 0 {
		tag = data[0] & 0x3f
		switch n := int(data[1]); {
		case n < 192:
			head, size = 2, n
		case n < 224 && len(data) > 2:
			head, size = 3, (n-192)<<8+int(data[2])+192
		case n == 255 && len(data) > 5:
			head, size = 6, int(binary.BigEndian.Uint32(data[2:]))
		default:
			return 0, nil, nil, broken
		}
	} else {
		tag = data[0] >> 2 & 0x0f
		width := 1 << (data[0] & 3)
		if width == 8 || len(data) < 1+width {
			return 0, nil, nil, broken
		}
		for _, b := range data[1 : 1+width] {
			size = size<<8 | int(b)
		}
		head = 1 + width
	}
	if size > len(data)-head {
		return 0, nil, nil, broken
	}
	return tag, data[head : head+size], data[head+size:], nil
}
