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
	// Path is what of the spec is at fault, in its own words, where that is known: "servers.web.firmware". Text says so, too.
	Path string `json:"path,omitempty"`
	// More are the other things that are wrong, of the same code: a lab is refused with all reasons at once.
	More []Error `json:"more,omitempty"`
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

// maxRefusals is how many reasons an error has at most: more than people read, and less than a wire carries.
const maxRefusals = 40

// Refusals gathers what a hypervisor cannot honour of a lab.
type Refusals struct{ all []Error }

// Add takes err if it is a refusal, code Unsupported, and says whether it did; nil is taken, too. Any other error ends
// what was being looked at.
func (r *Refusals) Add(err error) bool {
	if err == nil {
		return true
	}
	var e *Error
	if !errors.As(err, &e) || e.Code != Unsupported {
		return false
	}
	more := e.More
	one := *e
	one.More = nil
	r.all = append(append(r.all, one), more...)
	return true
}

// Err is all of them as one error, the first with the others as More; nil if there are none.
func (r *Refusals) Err() error {
	if len(r.all) == 0 {
		return nil
	}
	e := r.all[0]
	if n := len(r.all); n > maxRefusals {
		r.all = append(r.all[:maxRefusals-1], Error{Op: e.Op, Code: Unsupported, Text: fmt.Sprintf("%d more things that cannot be honoured", n-maxRefusals+1)})
	}
	e.More = r.all[1:]
	return &e
}

// Or is Err if there are any, else err: a mistake that is found after a refusal may follow from what was refused.
func (r *Refusals) Or(err error) error {
	if refused := r.Err(); refused != nil {
		return refused
	}
	return err
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
