package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/image/fetch"
)

func payload(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(1)).Read(b)
	return b
}

func digest(b []byte) fetch.Digest {
	h := sha256.Sum256(b)
	return fetch.Digest{Algorithm: "sha256", Hex: hex.EncodeToString(h[:])}
}

// server serves body; wrap may spoil it. It counts requests and the bytes it sent.
type server struct {
	*httptest.Server
	requests atomic.Int64
	ranges   atomic.Int64
}

func serve(t *testing.T, body []byte, wrap func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)) *server {
	s := &server{}
	plain := func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "disk.img", time.Unix(1e9, 0), bytes.NewReader(body))
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.requests.Add(1)
		if r.Header.Get("Range") != "" {
			s.ranges.Add(1)
		}
		if wrap == nil {
			plain(w, r)
			return
		}
		wrap(n, w, r, plain)
	}))
	t.Cleanup(s.Close)
	return s
}

func request(t *testing.T, url string, d fetch.Digest) fetch.Request {
	return fetch.Request{URL: url, Digest: d, Part: filepath.Join(t.TempDir(), "part"), Stall: time.Second, Progress: func(int64, int64) {}}
}

func reason(err error) fetch.Reason {
	var e *fetch.Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// cut sends half of what it announced and then breaks the connection.
func cut(w http.ResponseWriter, body []byte, at int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.Header().Set("Last-Modified", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
	_, _ = w.Write(body[:at])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

func TestGet(t *testing.T) {
	body := payload(3 << 20)
	other := digest([]byte("other"))
	sum512 := sha512.Sum512(body)
	tests := []struct {
		name   string
		digest fetch.Digest
		wrap   func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)
		want   fetch.Reason
		text   string // part of the error
		kept   bool   // something to build on is left
		asks   int64  // requests
	}{
		{name: "plain", asks: 1},
		{name: "sha512", digest: fetch.Digest{Algorithm: "sha512", Hex: hex.EncodeToString(sum512[:])}, asks: 1},
		{name: "cut once, goes on by itself", asks: 2, wrap: func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			if n == 1 {
				cut(w, body, len(body)/2)
			}
			serve(w, r)
		}},
		{name: "always cut at the same place", want: fetch.Truncated, text: "after 1048576 bytes", kept: true, asks: 2,
			wrap: func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
				if n == 1 {
					cut(w, body, 1<<20)
				}
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", 1<<20, len(body)-1, len(body)))
				w.Header().Set("Content-Length", fmt.Sprint(len(body)-1<<20))
				w.WriteHeader(http.StatusPartialContent)
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}},
		{name: "cut, server without ranges", asks: 2, wrap: func(n int64, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			if n == 1 {
				cut(w, body, 1<<20)
			}
			_, _ = w.Write(body)
		}},
		{name: "changed on the server between two tries", asks: 2, wrap: func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			if n == 1 {
				w.Header().Set("ETag", `"old"`)
				cut(w, payload(4 << 20)[100:], 1<<20)
			}
			w.Header().Set("ETag", `"new"`)
			serve(w, r)
		}},
		{name: "wrong digest", digest: other, want: fetch.Mismatch, text: "expected " + other.String() + ", and the 3145728 bytes that came have " + digest(body).String(), asks: 1},
		{name: "not found", want: fetch.Refused, text: "404 Not Found", asks: 1,
			wrap: func(_ int64, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { http.NotFound(w, r) }},
		{name: "redirected", asks: 2, wrap: func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
			if n == 1 {
				http.Redirect(w, r, "/mirror/disk.img", http.StatusFound)
				return
			}
			serve(w, r)
		}},
		{name: "redirected in a circle", want: fetch.Unreachable, text: "redirects", asks: 10,
			wrap: func(_ int64, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
				http.Redirect(w, r, "/", http.StatusFound)
			}},
		{name: "stalls in the middle", want: fetch.Stalled, text: "no byte came for 1s", kept: true, asks: 1,
			wrap: func(_ int64, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
				_, _ = w.Write(body[:1<<20])
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}},
		{name: "never answers", want: fetch.Stalled, text: "no byte came", asks: 1,
			wrap: func(_ int64, _ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) { <-r.Context().Done() }},
		{name: "slow but moving", asks: 1, wrap: func(_ int64, w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			for i := range 6 { // 1.5 s in all, more than Stall
				_, _ = w.Write(body[i*len(body)/6 : (i+1)*len(body)/6])
				_ = http.NewResponseController(w).Flush()
				time.Sleep(250 * time.Millisecond)
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, body, test.wrap)
			d := test.digest
			if d.Hex == "" {
				d = digest(body)
			}
			r := request(t, s.URL+"/disk.img", d)
			err := fetch.Get(context.Background(), r)
			if reason(err) != test.want || (test.want == "" && err != nil) {
				t.Fatalf("got error %v (%s), want %q", err, reason(err), test.want)
			}
			if test.want != "" && (!strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), s.URL)) {
				t.Errorf("error %q does not say %q and the URL", err, test.text)
			}
			if n := s.requests.Load(); n != test.asks {
				t.Errorf("asked the server %d times, want %d", n, test.asks)
			}
			got, _ := os.ReadFile(r.Part)
			if test.want == "" && !bytes.Equal(got, body) {
				t.Error("the file is not what the server has")
			}
			if test.want != "" && (len(got) > 0) != test.kept {
				t.Errorf("%d bytes are kept, want some: %v", len(got), test.kept)
			}
		})
	}
}

// TestResume kills a download in the middle and begins another one, as the next run of labctl would.
func TestResume(t *testing.T) {
	body := payload(3 << 20)
	ctx, cancel := context.WithCancel(context.Background())
	s := serve(t, body, func(n int64, w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if n > 1 {
			serve(w, r)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Header().Set("Last-Modified", time.Unix(1e9, 0).UTC().Format(http.TimeFormat))
		_, _ = w.Write(body[:1<<20])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	r := request(t, s.URL, digest(body))
	r.Stall = 20 * time.Second
	r.Progress = func(done, _ int64) {
		if done == 1<<20 {
			cancel()
		}
	}
	if err := fetch.Get(ctx, r); reason(err) != fetch.Canceled || !errors.Is(err, context.Canceled) {
		t.Fatalf("canceled download: %v", err)
	}
	first := int64(-1)
	r.Progress = func(done, total int64) {
		if first < 0 {
			first = done
		}
		if total != int64(len(body)) {
			t.Errorf("total is %d, want %d", total, len(body))
		}
	}
	if err := fetch.Get(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	if first <= 1<<20 || s.ranges.Load() != 1 {
		t.Errorf("second try began at byte %d with %d range requests; want it to go on after 1048576", first, s.ranges.Load())
	}
	before := s.requests.Load()
	if err := fetch.Get(context.Background(), r); err != nil || s.requests.Load() != before {
		t.Errorf("what is complete was asked for again (%v)", err)
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	l.Close()
	for url, want := range map[string]fetch.Reason{
		"http://" + closed + "/disk.img":        fetch.Unreachable,
		"https://labctl-no-such-host.invalid/x": fetch.Unreachable,
		"file:///no/such/file.qcow2":            fetch.Refused,
		"file:///proc":                          fetch.Refused,
		"ftp://host/file":                       fetch.Invalid,
		"disk.qcow2":                            fetch.Invalid,
	} {
		err := fetch.Get(context.Background(), request(t, url, digest(nil)))
		if reason(err) != want {
			t.Errorf("%s: got %v (%s), want %s", url, err, reason(err), want)
		}
	}
}

func TestLocal(t *testing.T) {
	body := payload(1 << 20)
	name := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, body, 0o644); err != nil {
		t.Fatal(err)
	}
	r := request(t, "file://"+name, digest(body))
	if err := fetch.Get(context.Background(), r); err != nil {
		t.Fatal(err)
	}
	r.Part = filepath.Join(t.TempDir(), "no", "such", "folder")
	if err := fetch.Get(context.Background(), r); reason(err) != fetch.Denied {
		t.Errorf("a folder that is not there: %v", err)
	}
	r.Part = "/dev/full" // what a full disk looks like to a program
	if err := fetch.Get(context.Background(), r); reason(err) != fetch.Full {
		t.Errorf("a full disk: %v", err)
	}
}

func TestParseDigest(t *testing.T) {
	for _, bad := range []string{"", "sha256", "sha256:", "sha256:12", "md5:" + strings.Repeat("0", 32), "sha512:" + strings.Repeat("0", 64),
		"sha256:" + strings.Repeat("g", 64)} {
		if d, err := fetch.ParseDigest(bad); err == nil {
			t.Errorf("%q is taken for %s", bad, d)
		}
	}
	if d, err := fetch.ParseDigest("sha256:" + strings.Repeat("AB", 32)); err != nil || d.String() != "sha256:"+strings.Repeat("ab", 32) {
		t.Errorf("upper case: %s, %v", d, err)
	}
}
