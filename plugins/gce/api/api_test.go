package api_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
)

func client(t *testing.T) (*api.Client, *gcetest.Server) {
	t.Helper()
	s := gcetest.New(gcetest.Options{Latency: 20 * time.Millisecond, WaitLimit: 5 * time.Millisecond})
	t.Cleanup(s.Close)
	return api.New(s.URL, s.Project(), http.DefaultClient), s
}

// TestTriedAgain makes a network while things go wrong that pass, and finds that it was made once.
func TestTriedAgain(t *testing.T) {
	for name, f := range map[string]gcetest.Fault{
		"a burst of too many requests": {Error: gcetest.RateLimited, Times: 2},
		"an error inside":              {Error: gcetest.Backend},
		"inside the operation":         {Error: gcetest.Broken},
		"somebody else is at it":       {Error: gcetest.Busy, Late: true},
		"no answer, nothing done":      {Cut: gcetest.Before},
		"no answer, but done":          {Cut: gcetest.After},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := client(t)
			s.Inject(f)
			if err := c.Insert(t.Context(), "global/networks", api.Network{Name: "net"}); err != nil {
				t.Fatal(err)
			}
			if s.Get("global/networks/net") == nil {
				t.Error("it is not there")
			}
		})
	}
}

// TestRefused checks that what does not pass is not tried again, and that its reason is known.
func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		fault gcetest.Fault
		want  api.Reason
	}{
		"no permission":          {gcetest.Fault{Error: gcetest.Forbidden}, api.Forbidden},
		"no more of it":          {gcetest.Fault{Error: gcetest.QuotaReached}, api.Quota},
		"no more of it, late":    {gcetest.Fault{Error: gcetest.QuotaReached, Late: true}, api.Quota},
		"no machines left":       {gcetest.Fault{Error: gcetest.Exhausted}, api.Exhausted},
		"not the newest reading": {gcetest.Fault{Error: gcetest.Stale}, api.Stale},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, s := client(t)
			s.Inject(test.fault)
			err := c.Insert(t.Context(), "global/networks", api.Network{Name: "net"})
			n := 0
			for _, r := range s.Requests() {
				if r.Mutates() {
					n++
				}
			}
			if !api.Is(err, test.want) || n != 1 {
				t.Errorf("%v after %d requests, want %s after one", err, n, test.want)
			}
		})
	}
}

func TestDeleteOfNothing(t *testing.T) {
	c, _ := client(t)
	if err := c.Delete(t.Context(), "global/networks/none"); err != nil {
		t.Error(err)
	}
}

func TestGivesUp(t *testing.T) {
	c, s := client(t)
	s.Inject(gcetest.Fault{Error: gcetest.RateLimited, Times: -1})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := c.Insert(ctx, "global/networks", api.Network{Name: "net"}); err == nil {
		t.Error("it has worked")
	}
}

// TestImpersonate gets a token of another account by one's own, of a service account's file.
func TestImpersonate(t *testing.T) {
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+" "+r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/token") {
			_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "own", "expires_in": 3600, "token_type": "Bearer"})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"accessToken": "theirs", "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "key.json")
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	text, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "own@p.iam.gserviceaccount.com", "private_key": string(secret), "token_uri": s.URL + "/token",
	})
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	login := api.Login{File: file, Impersonate: "lab@p.iam.gserviceaccount.com", IAM: s.URL}
	source, err := login.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	token, err := source.Token()
	if err != nil || token.AccessToken != "theirs" {
		t.Errorf("%v, %v", token, err)
	}
	want := []string{"/token ", "/v1/projects/-/serviceAccounts/lab@p.iam.gserviceaccount.com:generateAccessToken Bearer own"}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if !api.Loopback(s.URL) || api.Loopback("https://compute.googleapis.com/compute/v1/") {
		t.Error("only an endpoint on this host is not told who asks")
	}
}
