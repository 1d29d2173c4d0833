// Package fetch downloads one file whose digest is known, and goes on where an earlier try stopped.
//
// It must not know what the file is for.
package fetch

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Request is one download.
type Request struct {
	URL    string // http, https or file
	Digest Digest
	// Part is where the bytes go, and Part+".json" what is needed to resume. Both stay after a failure that a next try
	// can build on. After success Part is the file, complete and checked.
	Part string
	// Stall is how long no byte may come; there is no limit to a download that moves.
	Stall    time.Duration
	Progress func(done, total int64) // total is 0 where the server does not say
}

// state is what a resumed download compares with: the same URL, and the same version of what is there.
type state struct {
	URL     string `json:"url"`
	Version string `json:"version"` // strong ETag, or Last-Modified; "": cannot be resumed
	Whole   bool   `json:"whole,omitempty"`
}

// tries is how often a connection that breaks after it gave something is taken up again before that is the caller's.
const tries = 5

// Get downloads r. Errors are *Error.
func Get(ctx context.Context, r Request) error {
	u, err := url.Parse(r.URL)
	if err != nil || u.Scheme != "file" && (u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return &Error{Invalid, fmt.Sprintf("%q is no http, https or file URL", r.URL), err}
	}
	if s, ok := readState(r); ok && s.Whole && check(ctx, r) == nil {
		return nil // an earlier Get's, which its caller could not use for reasons of its own
	}
	if u.Scheme == "file" {
		err = copyFile(ctx, u, r)
	} else {
		err = download(ctx, r)
	}
	if err != nil {
		return err
	}
	return check(ctx, r)
}

// download takes a broken connection up again as long as each try brings something.
func download(ctx context.Context, r Request) error {
	for try := 1; ; try++ {
		before := length(r.Part)
		err := once(ctx, r)
		var e *Error
		again := errors.As(err, &e) && (e.Reason == Truncated || e.Reason == Stalled)
		if !again || try == tries || length(r.Part) <= before || !resumable(r) {
			return err
		}
	}
}

func resumable(r Request) bool {
	s, ok := readState(r)
	return ok && s.Version != ""
}

func length(name string) int64 {
	i, err := os.Stat(name)
	if err != nil {
		return 0
	}
	return i.Size()
}

func readState(r Request) (state, bool) {
	b, err := os.ReadFile(r.Part + ".json")
	var s state
	if err != nil || json.Unmarshal(b, &s) != nil || s.URL != r.URL {
		return state{}, false
	}
	return s, true
}

func writeState(r Request, s state) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return os.WriteFile(r.Part+".json", b, 0o644)
}

// once is one connection.
func once(ctx context.Context, r Request) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(r.Stall, func() { cancel(errStall) })
	defer timer.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return &Error{Invalid, fmt.Sprintf("%q is no URL", r.URL), err}
	}
	req.Header.Set("User-Agent", "labctl")
	req.Header.Set("Accept-Encoding", "identity") // the digest is that of the bytes as they lie there
	have := length(r.Part)
	if s, ok := readState(r); ok && s.Version != "" && have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(have, 10)+"-")
		req.Header.Set("If-Range", s.Version)
	}
	client := &http.Client{Transport: transport(r.Stall)}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return explain(ctx, r, Unreachable, err)
	}
	defer resp.Body.Close()
	from, total, err := accept(r, resp, have)
	if err != nil || from < 0 {
		return err
	}
	f, err := open(r, resp, from)
	if err != nil {
		return local(r, err)
	}
	done, err := pump(f, resp.Body, func(n int64) {
		timer.Reset(r.Stall)
		r.Progress(from+n, total)
	})
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return local(r, err)
	}
	if err != nil {
		return explain(ctx, r, Truncated, err)
	}
	if total > 0 && from+done != total {
		return short(r, from+done, total)
	}
	return nil
}

func transport(stall time.Duration) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: min(stall, 15*time.Second), KeepAlive: 15 * time.Second}).DialContext
	t.DisableKeepAlives = true
	return t
}

// accept reads the answer's head: at which byte its body begins, and how many bytes there are in all. from is -1 when
// all bytes are here already.
func accept(r Request, resp *http.Response, have int64) (from, total int64, err error) {
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, max(resp.ContentLength, 0), nil
	case http.StatusPartialContent:
		var end int64
		n, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &end, &total)
		if err == nil && n == 3 && from == have {
			return from, total, nil
		}
		return 0, 0, startOver(r, &Error{Refused, fmt.Sprintf("%s: the server sent the range %q where bytes from %d were asked for", r.URL, resp.Header.Get("Content-Range"), have), nil})
	case http.StatusRequestedRangeNotSatisfiable:
		if n, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes */%d", &total); err == nil && n == 1 && total == have {
			return -1, total, nil
		}
		return 0, 0, startOver(r, &Error{Refused, fmt.Sprintf("%s: is shorter now than the %d bytes that are here; try again", r.URL, have), nil})
	}
	return 0, 0, &Error{Refused, fmt.Sprintf("%s: the server answers %s", resp.Request.URL, resp.Status), nil}
}

func startOver(r Request, err error) error {
	os.Remove(r.Part)
	os.Remove(r.Part + ".json")
	return err
}

// open prepares Part for bytes from that offset and records what they are part of.
func open(r Request, resp *http.Response, from int64) (*os.File, error) {
	version := resp.Header.Get("ETag")
	if version == "" || strings.HasPrefix(version, "W/") {
		version = resp.Header.Get("Last-Modified")
	}
	f, err := os.OpenFile(r.Part, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	err = f.Truncate(from)
	if err == nil {
		err = writeState(r, state{URL: r.URL, Version: version})
	}
	if err == nil {
		_, err = f.Seek(from, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// writeError marks an error of this host's disk, as against one of the network.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func pump(w io.Writer, r io.Reader, tell func(int64)) (int64, error) {
	buf := make([]byte, 256<<10)
	for n := int64(0); ; {
		k, err := r.Read(buf)
		if k > 0 {
			if _, err := w.Write(buf[:k]); err != nil {
				return n, writeError{err}
			}
			n += int64(k)
			tell(n)
		}
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

var errStall = errors.New("stalled")

// explain makes an *Error of what the network or the disk said.
func explain(ctx context.Context, r Request, reason Reason, err error) error {
	var w writeError
	var dns *net.DNSError
	switch {
	case errors.As(err, &w):
		return local(r, w.error)
	case context.Cause(ctx) == errStall:
		return &Error{Stalled, fmt.Sprintf("%s: no byte came for %s; %d are here and will be kept", r.URL, r.Stall, length(r.Part)), nil}
	case ctx.Err() != nil:
		return &Error{Canceled, fmt.Sprintf("%s: download interrupted after %d bytes, which are kept", r.URL, length(r.Part)), ctx.Err()}
	case errors.As(err, &dns):
		return &Error{Unreachable, fmt.Sprintf("%s: cannot find host %s: %s", r.URL, dns.Name, dns.Err), err}
	case reason == Truncated:
		return &Error{Truncated, fmt.Sprintf("%s: the connection broke after %d bytes: %v", r.URL, length(r.Part), err), err}
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err // without the URL, which is said already
	}
	return &Error{reason, fmt.Sprintf("%s: %v", r.URL, err), err}
}

func short(r Request, got, want int64) error {
	return &Error{Truncated, fmt.Sprintf("%s: ended after %d of %d bytes", r.URL, got, want), nil}
}

// local is an error of this host's disk.
func local(r Request, err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Error{Full, fmt.Sprintf("%s: no space left on this host after %d bytes, which are kept: %v", r.URL, length(r.Part), err), err}
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &Error{Canceled, fmt.Sprintf("%s: interrupted", r.URL), err}
	}
	return &Error{Denied, fmt.Sprintf("%s: cannot keep it here: %v", r.URL, err), err}
}

// copyFile is a download from this host.
func copyFile(ctx context.Context, u *url.URL, r Request) error {
	in, err := os.Open(u.Path)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return &Error{Refused, fmt.Sprintf("%s: %v", r.URL, err), err}
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return &Error{Refused, fmt.Sprintf("%s: is no regular file", r.URL), err}
	}
	out, err := os.Create(r.Part)
	if err != nil {
		return local(r, err)
	}
	_, err = pump(out, reader{ctx, in}, func(n int64) { r.Progress(n, info.Size()) })
	if err := errors.Join(err, out.Close()); err != nil {
		return local(r, err)
	}
	return nil
}

// reader ends when ctx does.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// check compares the digest. Bytes that are wrong are of no use to a next try.
func check(ctx context.Context, r Request) error {
	f, err := os.Open(r.Part)
	if err != nil {
		return local(r, err)
	}
	defer f.Close()
	h := r.Digest.hash()
	n, err := io.Copy(h, reader{ctx, f})
	if err != nil {
		return local(r, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != r.Digest.Hex {
		return startOver(r, &Error{Mismatch, fmt.Sprintf("%s: wrong digest: expected %s, and the %d bytes that came have %s:%s",
			r.URL, r.Digest, n, r.Digest.Algorithm, got), nil})
	}
	if err := writeState(r, state{URL: r.URL, Whole: true}); err != nil {
		return local(r, err)
	}
	return nil
}
