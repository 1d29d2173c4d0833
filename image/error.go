package image

import (
	"context"
	"errors"
	"fmt"

	"github.com/labctl-dev/labctl/image/fetch"
)

// Error is what went wrong with one image. Only Code decides what is done about it.
type Error struct {
	Code  Code
	Image string // name or ID; "" for the store itself
	Text  string // what was tried on which thing and why it failed, for people
	// Tools are the programs that Code MissingTool is about.
	Tools []Tool
	Err   error // the cause where there is one, for errors.Is
}

// Tool is a program that is not installed.
type Tool struct {
	Name    string // the program, or a file that comes with one
	Package string // Debian's package that has it
}

// Code is the class of an Error.
type Code string

// The codes. Only Unreachable, Stalled and Truncated are worth another try; a download goes on where it stopped.
const (
	Invalid     Code = "invalid"      // the image's description makes no sense, or the file it names is no usable disk image
	Unreachable Code = "unreachable"  // the host does not answer, or cannot be found
	Refused     Code = "refused"      // the host answers, with an error
	Stalled     Code = "stalled"      // bytes stopped coming
	Truncated   Code = "truncated"    // fewer bytes came than were announced
	Digest      Code = "digest"       // what came has another digest
	Full        Code = "full"         // no space left on this host's disk
	Denied      Code = "denied"       // the store's folder cannot be written
	MissingTool Code = "missing-tool" // programs are not installed: Tools
	Corrupt     Code = "corrupt"      // a file in the store is not what was put there
	NotFound    Code = "not-found"    // no such image in the store
	Ambiguous   Code = "ambiguous"    // a name or the start of an ID means several images
	Failed      Code = "failed"       // a program that builds or converts failed
	Canceled    Code = "canceled"     // the caller gave up
)

func (e *Error) Error() string { return e.Text }

func (e *Error) Unwrap() error { return e.Err }

// fail is an Error about an image; causes that speak for themselves (cancellation, a full disk) override code.
func fail(code Code, image string, err error, format string, args ...any) *Error {
	e := &Error{Code: code, Image: image, Err: err, Text: fmt.Sprintf(format, args...)}
	if err == nil {
		return e
	}
	e.Text += ": " + err.Error()
	var inner *Error
	var f *fetch.Error
	switch {
	case errors.As(err, &inner):
		e.Code, e.Tools = inner.Code, inner.Tools
	case errors.As(err, &f):
		e.Code = Code(f.Reason)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		e.Code = Canceled
	case isFull(err):
		e.Code = Full
	case isDenied(err):
		e.Code = Denied
	}
	return e
}
