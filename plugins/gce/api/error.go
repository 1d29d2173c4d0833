package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/oauth2"
)

// Error is what the API refused, at once or in an operation. Only Reason decides what is done about it.
type Error struct {
	HTTP   int
	Reason Reason
	Text   string
}

// Reason is the class of an Error, in the API's own words where it has some.
type Reason string

// The reasons that somebody cares about.
const (
	NotFound     Reason = "notFound"
	Exists       Reason = "alreadyExists"
	InUse        Reason = "resourceInUseByAnotherResource"
	AddressInUse Reason = "ipInUseByAnotherResource"
	NotReady     Reason = "resourceNotReady" // somebody else is changing it
	RateLimited  Reason = "rateLimitExceeded"
	Quota        Reason = "quotaExceeded"
	Exhausted    Reason = "zoneResourcePoolExhausted"
	Stale        Reason = "conditionNotMet" // the fingerprint is not fresh
	Forbidden    Reason = "forbidden"
	Unsupported  Reason = "notImplemented"
	Backend      Reason = "backendError"
	Unanswered   Reason = "unanswered" // nobody knows what became of the request
	Unreadable   Reason = "unreadable"
)

func (e *Error) Error() string { return e.Text }

// Is says whether err is an Error for that reason.
func Is(err error, r Reason) bool {
	e := (*Error)(nil)
	return errors.As(err, &e) && e.Reason == r
}

// passes says whether trying again may help.
func (e *Error) passes() bool {
	return slices.Contains([]Reason{NotReady, RateLimited, Backend, Unanswered}, e.Reason)
}

// unanswered is the error of a request without an answer; one that was given up is ctx's own.
func unanswered(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var l *LoginError
	if errors.As(err, &l) {
		return l
	}
	var r *oauth2.RetrieveError // as whom to ask is known, but Google does not take it (any more)
	if errors.As(err, &r) && r.Response != nil && r.Response.StatusCode < http.StatusInternalServerError {
		return &LoginError{r}
	}
	return &Error{Reason: Unanswered, Text: fmt.Sprintf("the API does not answer: %v", err)}
}

// refusal is the error of an answer that is one.
func refusal(status int, body []byte) error {
	var a struct {
		Error struct {
			Message string `json:"message"`
			Status  string `json:"status"`
			Errors  []struct {
				Reason  string `json:"reason"`
				Message string `json:"message"`
			} `json:"errors"`
		} `json:"error"`
	}
	e := &Error{HTTP: status}
	if err := json.Unmarshal(body, &a); err == nil && a.Error.Message != "" {
		e.Text = a.Error.Message
		if len(a.Error.Errors) > 0 {
			e.Reason = reasonOf(a.Error.Errors[0].Reason)
		}
	} else {
		e.Text = fmt.Sprintf("%s: %.200q", http.StatusText(status), body)
	}
	// Proxies and restricted endpoints answer without a reason, or with one of their own.
	switch {
	case status == http.StatusNotFound:
		e.Reason = NotFound
	case status == http.StatusPreconditionFailed:
		e.Reason = Stale
	case status == http.StatusNotImplemented:
		e.Reason = Unsupported
	case status == http.StatusTooManyRequests:
		e.Reason = RateLimited
	case status >= 500:
		e.Reason = Backend
	case status == http.StatusUnauthorized, status == http.StatusForbidden && e.Reason == "":
		e.Reason = Forbidden
	}
	return e
}

// reasonOf is the reason that a word of an answer ("alreadyExists") or of an operation ("RESOURCE_ALREADY_EXISTS") means.
func reasonOf(word string) Reason {
	switch word {
	case "RESOURCE_NOT_FOUND":
		return NotFound
	case "RESOURCE_ALREADY_EXISTS":
		return Exists
	case "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", "RESOURCE_IN_USE", "containerNotEmpty":
		return InUse
	case "IP_IN_USE_BY_ANOTHER_RESOURCE":
		return AddressInUse
	case "RESOURCE_NOT_READY", "RESOURCE_OPERATION_IN_PROGRESS", "operationInProgress":
		return NotReady
	case "RATE_LIMIT_EXCEEDED", "userRateLimitExceeded", "OPERATION_RATE_EXCEEDED":
		return RateLimited
	case "QUOTA_EXCEEDED":
		return Quota
	case "CONDITION_NOT_MET":
		return Stale
	case "PERMISSIONS_ERROR", "insufficientPermissions", "accessNotConfigured", "SERVICE_DISABLED":
		return Forbidden
	case "INTERNAL_ERROR", "internalError", "BACKEND_ERROR":
		return Backend
	}
	if strings.HasPrefix(word, "ZONE_RESOURCE_POOL_EXHAUSTED") {
		return Exhausted
	}
	return Reason(word)
}
