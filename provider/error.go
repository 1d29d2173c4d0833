package provider

import (
	"context"
	"errors"
	"fmt"
)

// Error is a provider's error as it crosses the wire. Only Code decides what is done about it; Text is for people.
type Error struct {
	Op   string `json:"op"` // "create", "update", "delete", "observe", "expand", "dial", ...
	Addr Addr   `json:"addr,omitzero"`
	Code Code   `json:"code"`
	Text string `json:"text"`
}

// Code is the class of an Error.
type Code string

// The codes. Only Unavailable and Busy are worth another try.
const (
	Invalid     Code = "invalid"     // the request makes no sense; an option is wrong
	Unsupported Code = "unsupported" // this hypervisor cannot honour what the lab asks
	NotFound    Code = "not-found"   // something it needs does not exist: an image, a folder
	Foreign     Code = "foreign"     // in the way is an object that is not ours
	InUse       Code = "in-use"      // held by something that is named in Text
	Denied      Code = "denied"      // no permission
	Full        Code = "full"        // no space, memory or quota left
	Corrupt     Code = "corrupt"     // content does not match its digest
	Missing     Code = "missing"     // a program this provider needs is not installed; Text is its name
	Busy        Code = "busy"        // not now; trying again soon is right
	Unavailable Code = "unavailable" // the hypervisor does not answer
	Timeout     Code = "timeout"     // took longer than allowed; Text says what it waited for
	Canceled    Code = "canceled"    // the caller gave up
	Crashed     Code = "crashed"     // the plugin process died
	Internal    Code = "internal"    // a bug
)

// Retry says whether trying again soon may help.
func (c Code) Retry() bool { return c == Busy || c == Unavailable }

func (e *Error) Error() string {
	switch {
	case e.Addr != (Addr{}):
		return fmt.Sprintf("cannot %s %s: %s", e.Op, e.Addr, e.Text)
	case e.Op != "":
		return fmt.Sprintf("cannot %s: %s", e.Op, e.Text)
	}
	return e.Text
}

// CodeOf is the code of err: that of the *Error in its chain, Timeout or Canceled for a context's, else Internal.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Wrap makes err an *Error about op and addr; nil stays nil. An err that is one already keeps its code, and its own
// op and address where it has them.
func Wrap(op string, addr Addr, err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		w := *e
		if w.Op == "" {
			w.Op = op
		}
		if w.Addr == (Addr{}) {
			w.Addr = addr
		}
		return &w
	}
	return &Error{Op: op, Addr: addr, Code: CodeOf(err), Text: err.Error()}
}
