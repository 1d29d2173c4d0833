package gateway

import (
	"io"
	"sync"
)

// Stream is a connection whose directions end separately.
type Stream interface {
	io.ReadWriteCloser
	CloseWrite() error
}

// Relay copies both ways until both have ended, and closes a and b. The end of one direction is passed on as such;
// an error ends both.
func Relay(a, b Stream) {
	var back sync.WaitGroup
	back.Go(func() { pipe(a, b) })
	pipe(b, a)
	back.Wait()
	_ = a.Close()
	_ = b.Close()
}

func pipe(dst, src Stream) {
	_, err := io.Copy(dst, src)
	if err == nil {
		err = dst.CloseWrite()
	}
	if err != nil {
		_ = dst.Close()
		_ = src.Close()
	}
}
