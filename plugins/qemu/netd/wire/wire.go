// Package wire reads the stream framing that QEMU's `-netdev stream` and socket_vmnet speak on a unix socket: a
// 4-byte big-endian length, then that many bytes of an Ethernet frame without its checksum. It reads in bulk: one
// read system call gives as many frames as have arrived.
//
// It must not know switches, addresses or protocols above the frame.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

const (
	// HeaderSize is the length of the length, in bytes.
	HeaderSize = 4
	// MinFrame is the shortest frame that has both addresses and a type, in bytes. Shorter ones are runts.
	MinFrame = 14
	// MaxFrame is the longest frame QEMU takes or sends, in bytes (NET_BUFSIZE in its include/net/net.h). A longer
	// length is no frame: the stream is out of step or never was one.
	MaxFrame = 4096 + 65536

	// bufferSize is how much one read may bring; a multiple of what a unix socket holds by default would gain nothing.
	bufferSize = 256 << 10
)

// LengthError says that a stream carried a length that no frame has, so that nothing after it can be trusted.
type LengthError struct{ Length uint32 }

func (e *LengthError) Error() string {
	return fmt.Sprintf("frame length %d is not within 1 to %d: the stream is out of step", e.Length, MaxFrame)
}

// Reader reads frames from a stream. It is not safe for concurrent use.
type Reader struct {
	src        io.Reader
	buf        []byte
	start, end int // what was read and not yet returned
}

// NewReader returns a Reader of src.
func NewReader(src io.Reader) *Reader { return &Reader{src: src, buf: make([]byte, bufferSize)} }

// Next returns one or more whole frames, each behind its header, as they stood in the stream. They are valid until
// the next call. It waits for the first of them. A *LengthError is final, as is any error of the source; a stream
// that ends within a frame gives io.ErrUnexpectedEOF.
func (r *Reader) Next() ([]byte, error) {
	if r.start > 0 {
		copy(r.buf, r.buf[r.start:r.end])
		r.start, r.end = 0, r.end-r.start
	}
	for {
		n, err := whole(r.buf[:r.end])
		if n > 0 {
			r.start = n
			return r.buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
		got, err := r.src.Read(r.buf[r.end:])
		r.end += got
		if got > 0 {
			continue
		}
		if err == io.EOF && r.end > 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
	}
}

// whole is the length of the whole frames at the start of b. The error is set only if there are none, because the
// first length is wrong.
func whole(b []byte) (int, error) {
	n := 0
	for len(b)-n >= HeaderSize {
		size := binary.BigEndian.Uint32(b[n:])
		if size == 0 || size > MaxFrame {
			if n == 0 {
				return 0, &LengthError{size}
			}
			return n, nil
		}
		if len(b)-n-HeaderSize < int(size) {
			return n, nil
		}
		n += HeaderSize + int(size)
	}
	return n, nil
}

// Append adds frame, behind its header, to b.
func Append(b, frame []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(frame)))
	return append(b, frame...)
}

// Cut splits the first frame off framed, which must be what Reader.Next or Append made: whole frames only.
func Cut(framed []byte) (frame, rest []byte) {
	n := HeaderSize + int(binary.BigEndian.Uint32(framed))
	return framed[HeaderSize:n], framed[n:]
}

// Resize corrects the header of a frame that was appended to after Append: framed is that frame and nothing else.
func Resize(framed []byte) { binary.BigEndian.PutUint32(framed, uint32(len(framed)-HeaderSize)) }
