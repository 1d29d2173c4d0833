package conn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/digitalocean/go-libvirt"
)

// Libvirt's protocol (virnetprotocol.x, remote_protocol.x) as far as streams need it; all else is go-libvirt's.

const (
	remoteProgram = 0x20008086
	remoteVersion = 1

	procConnectOpen    = 1
	procAuthList       = 66
	procAuthPolkit     = 70
	procDomainConsole  = 201
	procVolumeUpload   = 208
	procVolumeDownload = 209

	typeCall, typeReply, typeStream = 0, 1, 3
	statusOK, statusError, statusGo = 0, 1, 2 // "go" is libvirt's "continue"

	authPolkit = 2

	// chunk is what every libvirt takes in one packet (VIR_NET_MESSAGE_LEGACY_PAYLOAD_MAX), in bytes.
	chunk = 262120
	// longest is what a packet may have at most (VIR_NET_MESSAGE_MAX), in bytes.
	longest = 32 << 20
)

// header is what comes before a packet's payload.
type header struct {
	Program, Version, Procedure, Type uint32
	Serial                            uint32
	Status                            uint32
}

const headerSize = 4 + 6*4 // with the length before it

func packet(h header, payload []byte) []byte {
	b := make([]byte, 0, headerSize+len(payload))
	for _, v := range []uint32{uint32(headerSize + len(payload)), h.Program, h.Version, h.Procedure, h.Type, h.Serial, h.Status} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	return append(b, payload...)
}

func readPacket(r io.Reader) (header, []byte, error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return header{}, nil, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	h := header{word(1), word(2), word(3), word(4), word(5), word(6)}
	n := word(0)
	if n < headerSize || n > longest {
		return h, nil, fmt.Errorf("a packet of %d bytes is none of libvirt's", n)
	}
	payload := make([]byte, n-headerSize)
	_, err := io.ReadFull(r, payload)
	return h, payload, err
}

// words is XDR (RFC 4506) to write.
type words []byte

func (w words) uint32(v uint32) words { return binary.BigEndian.AppendUint32(w, v) }
func (w words) uint64(v uint64) words { return binary.BigEndian.AppendUint64(w, v) }

func (w words) text(s string) words {
	w = append(w.uint32(uint32(len(s))), s...)
	for len(w)%4 != 0 {
		w = append(w, 0)
	}
	return w
}

// option is a string that may be absent.
func (w words) option(s string) words {
	if s == "" {
		return w.uint32(0)
	}
	return w.uint32(1).text(s)
}

// remoteError reads libvirt's error (remote_error) as far as it is told to people.
func remoteError(payload []byte) error {
	word := func(i int) uint32 {
		if len(payload) < 4*i+4 {
			return 0
		}
		return binary.BigEndian.Uint32(payload[4*i:])
	}
	e := libvirt.Error{Code: word(0)} // then the domain, whether there is a text, and the text
	if n := int(word(3)); word(2) == 1 && len(payload) >= 16+n {
		e.Message = string(payload[16 : 16+n])
	}
	if e.Message == "" {
		return errors.New("libvirt gave an error without a text")
	}
	return e
}
