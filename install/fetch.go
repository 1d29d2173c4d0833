package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"time"
)

// How often a connection is made again without a byte in between, and how long it is waited before.
const (
	attempts  = 8
	firstWait = 500 * time.Millisecond // unless somebody says otherwise
	mostWait  = 15 * time.Second
)

// silence is how long a server may send nothing before the connection counts as lost.
const silence = 30 * time.Second

// stream reads a Source and goes on where it was when the connection breaks. Its last Read fails if what came is not
// what the digest says: nothing that depends on all of it may be believed before.
type stream struct {
	ctx    context.Context
	http   *http.Client
	src    Source
	lost   func(error)   // is told of each connection that has to be made again
	first  time.Duration // is waited before the connection is made again
	wait   time.Duration // the next time
	body   io.ReadCloser
	alive  *time.Timer
	cancel context.CancelCauseFunc
	at     int64
	failed int // connections in a row that brought nothing
	sum    hash.Hash
}

func open(ctx context.Context, c *http.Client, src Source, wait time.Duration, lost func(error)) *stream {
	return &stream{ctx: ctx, http: c, src: src, lost: lost, first: wait, wait: wait, sum: sha256.New()}
}

// errGone is an answer that no repetition makes better.
var errGone = errors.New("not to be had")

// Read implements io.Reader.
func (s *stream) Read(p []byte) (int, error) {
	for {
		if s.at == s.src.Length {
			return 0, s.verify()
		}
		n, err := s.some(p)
		if n > 0 {
			s.failed, s.wait = 0, s.first
			s.sum.Write(p[:n])
			s.at += int64(n)
			return n, nil
		}
		s.Close()
		if s.ctx.Err() != nil {
			return 0, context.Cause(s.ctx)
		}
		if s.failed++; errors.Is(err, errGone) || s.failed >= attempts {
			return 0, fmt.Errorf("%s: after %d of %d bytes: %w", s.src.URL, s.at, s.src.Length, err)
		}
		s.lost(fmt.Errorf("%s: after %d of %d bytes: %w", s.src.URL, s.at, s.src.Length, err))
		select {
		case <-s.ctx.Done():
		case <-time.After(s.wait):
		}
		s.wait = min(2*s.wait, mostWait)
	}
}

// some reads a part of what is left over the connection, which it makes if there is none.
func (s *stream) some(p []byte) (int, error) {
	if s.body == nil {
		if err := s.connect(); err != nil {
			return 0, err
		}
	}
	s.alive.Reset(silence)
	n, err := s.body.Read(p[:min(int64(len(p)), s.src.Length-s.at)])
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (s *stream) connect() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	s.cancel = cancel
	s.alive = time.AfterFunc(silence, func() { cancel(fmt.Errorf("the server has sent nothing for %s", silence)) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.src.URL, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept-Encoding", "identity") // the digest is that of what is stored there
	if s.at > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", s.at))
	}
	resp, err := s.http.Do(req)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	s.body = resp.Body
	begin := int64(0)
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-", &begin); err != nil || begin != s.at {
			return fmt.Errorf("asked for what follows byte %d, the server sends %q: %w", s.at, resp.Header.Get("Content-Range"), errGone)
		}
	case resp.StatusCode == http.StatusOK: // from the beginning: a server that cannot do ranges
		if _, err := io.CopyN(io.Discard, s.body, s.at); err != nil {
			return err
		}
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return fmt.Errorf("the server answers %s", resp.Status)
	default:
		return fmt.Errorf("the server answers %s: %w", resp.Status, errGone)
	}
	if n := resp.ContentLength; n >= 0 && begin+n != s.src.Length {
		return fmt.Errorf("it has %d bytes, the order says %d: %w", begin+n, s.src.Length, errGone)
	}
	return nil
}

// verify is io.EOF if all that came is what it should be.
func (s *stream) verify() error {
	if got := hex.EncodeToString(s.sum.Sum(nil)); got != s.src.SHA256 {
		return fmt.Errorf("%s has digest sha256:%s, the order says sha256:%s: it is not what it should be", s.src.URL, got, s.src.SHA256)
	}
	return io.EOF
}

// Close ends the connection.
func (s *stream) Close() error {
	var err error
	if s.body != nil {
		err = s.body.Close()
	}
	if s.alive != nil {
		s.alive.Stop()
		s.cancel(nil)
	}
	s.body, s.alive = nil, nil
	return err
}
