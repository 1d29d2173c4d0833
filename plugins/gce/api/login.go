package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
)

// Scope is what labctl asks Google for.
const Scope = "https://www.googleapis.com/auth/cloud-platform"

// Login says as whom to ask.
type Login struct {
	File        string // a service account's key, or another credentials file; "" is Application Default Credentials
	Impersonate string // the service account to act as; "" is none
	// IAM is where tokens of other accounts are asked for; "" is Google's own.
	IAM string
}

// LoginError says that there is no telling as whom to ask, or that Google does not know them.
type LoginError struct{ Err error }

func (e *LoginError) Error() string { return e.Err.Error() }

func (e *LoginError) Unwrap() error { return e.Err }

// Tokens are access tokens by a login. Nothing is asked for before the first token is.
func (l Login) Tokens(ctx context.Context) (oauth2.TokenSource, error) {
	var creds *google.Credentials
	var err error
	if l.File != "" {
		var b []byte
		if b, err = os.ReadFile(l.File); err != nil {
			return nil, fmt.Errorf("cannot read the credentials: %w", err)
		}
		creds, err = google.CredentialsFromJSON(ctx, b, Scope) //nolint:staticcheck // the user chose the file
	} else {
		creds, err = google.FindDefaultCredentials(ctx, Scope)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot find out as whom to ask: %w", err)
	}
	if l.Impersonate == "" {
		return creds.TokenSource, nil
	}
	iam := l.IAM
	if iam == "" {
		iam = "https://iamcredentials.googleapis.com"
	}
	as := &impersonation{
		url:  iam + "/v1/projects/-/serviceAccounts/" + url.PathEscape(l.Impersonate) + ":generateAccessToken",
		http: oauth2.NewClient(ctx, creds.TokenSource), account: l.Impersonate,
	}
	return oauth2.ReuseTokenSource(nil, as), nil
}

// impersonation gets tokens of another account.
type impersonation struct {
	url, account string
	http         *http.Client
}

// Token implements oauth2.TokenSource.
func (i *impersonation) Token() (*oauth2.Token, error) {
	body, err := json.Marshal(map[string]any{"scope": []string{Scope}, "lifetime": "3600s"})
	if err != nil {
		return nil, err
	}
	answer, err := i.http.Post(i.url, "application/json", bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot act as %s: %w", i.account, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("cannot act as %s: %w", i.account, err)
	}
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("cannot act as %s: %w", i.account, refusal(answer.StatusCode, b))
	}
	var t struct {
		Token  string    `json:"accessToken"`
		Expire time.Time `json:"expireTime"`
	}
	if err := json.Unmarshal(b, &t); err != nil || t.Token == "" {
		return nil, fmt.Errorf("cannot act as %s: the answer holds no token", i.account)
	}
	return &oauth2.Token{AccessToken: t.Token, Expiry: t.Expire, TokenType: "Bearer"}, nil
}

// Loopback says whether an endpoint is on this host: then nobody is asked who they are.
func Loopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
