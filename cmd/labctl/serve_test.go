package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// cmdServe is "serve FILE CUT": a web server on loopback has FILE, and breaks off its first answer after CUT bytes. $URL
// and $SHA256 say where it is and what it should be; $URL/always is broken off every time.
func cmdServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: serve FILE CUT")
	}
	body, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	cut, err := strconv.Atoi(args[1])
	ts.Check(err)
	broken := false
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken && r.URL.Path != "/always" {
			w.Header().Set("ETag", `"one"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
			return
		}
		broken = true
		w.Header().Set("ETag", `"one"`)
		w.Header().Set("Accept-Ranges", "bytes")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = w.Write(body[:cut])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	ts.Defer(s.Close)
	sum := sha256.Sum256(body)
	ts.Setenv("URL", s.URL)
	ts.Setenv("SHA256", hex.EncodeToString(sum[:]))
}
