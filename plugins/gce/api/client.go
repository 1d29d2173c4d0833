// Package api is a thin client of the compute REST API, version 1: the few kinds and fields that labs are made of, each
// request written the way it is meant. A generated client leaves out what is empty, and so cannot say "none any more";
// here a field without omitempty is always sent.
//
// Every mutation carries a requestId, so that it can be sent again when nobody knows whether it arrived, and ends with
// its operation: whether it worked stands there, and not in the answer.
//
// It must not know labs, resources, or what any of the things it makes are for.
package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

// Client speaks for one project.
type Client struct {
	base    string // ends before "projects/"
	project string
	http    *http.Client
	pause   time.Duration // before the first repetition; doubles each time
}

// DefaultEndpoint is Google's own.
const DefaultEndpoint = "https://compute.googleapis.com/compute/v1/"

// New makes a client that asks the API at endpoint, by h, for things of a project. h brings the authentication.
func New(endpoint, project string, h *http.Client) *Client {
	return &Client{base: strings.TrimRight(endpoint, "/") + "/", project: project, http: h, pause: 250 * time.Millisecond}
}

// Project is the project that it speaks for.
func (c *Client) Project() string { return c.project }

// Get reads a thing of the project into v: "global/networks/a".
func (c *Client) Get(ctx context.Context, path string, v any) error {
	return c.repeat(ctx, func() error { return c.ask(ctx, http.MethodGet, path, nil, nil, v) })
}

// List reads all things of a collection, page after page. each gets one as it came.
func (c *Client) List(ctx context.Context, collection, filter string, each func(json.RawMessage) error) error {
	query := url.Values{}
	if filter != "" {
		query.Set("filter", filter)
	}
	for {
		var page struct {
			Items []json.RawMessage `json:"items"`
			Next  string            `json:"nextPageToken"`
		}
		if err := c.repeat(ctx, func() error { return c.ask(ctx, http.MethodGet, collection, query, nil, &page) }); err != nil {
			return err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("pageToken", page.Next)
	}
}

// Insert makes a thing in a collection and returns when it exists.
func (c *Client) Insert(ctx context.Context, collection string, body any) error {
	return c.Change(ctx, http.MethodPost, collection, nil, body)
}

// Delete deletes a thing and returns when it is gone; what is absent already is success.
func (c *Client) Delete(ctx context.Context, path string) error {
	err := c.Change(ctx, http.MethodDelete, path, nil, nil)
	if Is(err, NotFound) {
		return nil
	}
	return err
}

// Change asks for a change and returns when its operation has ended well. It is tried again, as a new request, when the
// API says that it could not be done just now.
func (c *Client) Change(ctx context.Context, method, path string, query url.Values, body any) error {
	return c.repeat(ctx, func() error {
		var op Operation
		id, err := requestID()
		if err != nil {
			return err
		}
		q := url.Values{"requestId": {id}}
		for k, v := range query {
			q[k] = v
		}
		// Whether a request that got no answer was carried out nobody knows; sent again as the same one it is not done twice.
		err = c.repeat(ctx, func() error {
			err := c.ask(ctx, method, path, q, body, &op)
			if e := (*Error)(nil); errors.As(err, &e) && e.Reason != Unanswered {
				return &final{err}
			}
			return err
		})
		if f := (*final)(nil); errors.As(err, &f) {
			err = f.error
		}
		if err != nil {
			return err
		}
		return c.wait(ctx, op)
	})
}

// final is an error that is not to be repeated at once, whatever it is.
type final struct{ error }

// ask is one request; v gets the answer, if it is not nil.
func (c *Client) ask(ctx context.Context, method, path string, query url.Values, body, v any) error {
	u := c.base + "projects/" + c.project + "/" + path
	if path == "" {
		u = strings.TrimRight(u, "/")
	}
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("cannot encode what is to be sent: %w", err)
		}
		in = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, u, in)
	if err != nil {
		return err
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("User-Agent", "labctl")
	answer, err := c.http.Do(r)
	if err != nil {
		return unanswered(ctx, err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return unanswered(ctx, err)
	}
	if answer.StatusCode >= 300 {
		return refusal(answer.StatusCode, b)
	}
	if v == nil {
		return nil
	}
	if err := json.Unmarshal(b, v); err != nil {
		return &Error{HTTP: answer.StatusCode, Reason: Unreadable, Text: fmt.Sprintf("the answer to %s %s is not what the API says: %v", method, path, err)}
	}
	return nil
}

// repeat does f until it works, fails for good, or ctx ends.
func (c *Client) repeat(ctx context.Context, f func() error) error {
	pause := c.pause
	for begin, lost := time.Now(), 0; ; {
		err := f()
		e := (*Error)(nil)
		if err == nil || !errors.As(err, &e) || !e.passes() {
			return err
		}
		if e.Reason == Unanswered {
			lost++
		}
		if lost > 6 || time.Since(begin) > patience {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
		if pause *= 2; pause > longest {
			pause = longest
		}
	}
}

// How long what the API could not do just now is tried again, and the longest pause between two tries.
const (
	patience = 5 * time.Minute
	longest  = 10 * time.Second
)

// Operation is a change under way.
type Operation struct {
	Name   string `json:"name"`
	Zone   string `json:"zone"`
	Region string `json:"region"`
	Status string `json:"status"` // PENDING, RUNNING, DONE
	HTTP   int    `json:"httpErrorStatusCode"`
	Error  *struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	} `json:"error"`
}

// wait returns when an operation has ended, with what went wrong in it.
func (c *Client) wait(ctx context.Context, op Operation) error {
	where := "global/operations/" + op.Name
	switch {
	case op.Zone != "":
		where = "zones/" + path.Base(op.Zone) + "/operations/" + op.Name
	case op.Region != "":
		where = "regions/" + path.Base(op.Region) + "/operations/" + op.Name
	}
	for op.Status != "DONE" { // each answers after two minutes at the latest
		err := c.repeat(ctx, func() error { return c.ask(ctx, http.MethodPost, where+"/wait", nil, nil, &op) })
		if err != nil {
			return err
		}
	}
	if op.Error == nil || len(op.Error.Errors) == 0 {
		return nil
	}
	first := op.Error.Errors[0]
	e := &Error{HTTP: op.HTTP, Reason: reasonOf(first.Code), Text: first.Message}
	for _, more := range op.Error.Errors[1:] {
		e.Text += "; " + more.Message
	}
	return e
}

// requestID is a random UUID.
func requestID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
