package view

import (
	"io"

	"github.com/labctl-dev/labctl/engine/apply"
)

// ProgressOptions say where progress is shown.
type ProgressOptions struct {
	Terminal bool       // the writer is a terminal that understands cursor movement
	Color    bool       // and colours
	Width    func() int // its columns now; nil is 80; called often
}

// Progress shows the events of one run. Its methods may be called from any goroutine.
type Progress struct{}

// NewProgress starts showing on w; Close must be called.
func NewProgress(w io.Writer, o ProgressOptions) *Progress { return &Progress{} }

// Event shows e.
func (p *Progress) Event(e apply.Event) {}

// Close shows what is still unshown, takes the live block away and returns when nothing writes any more.
func (p *Progress) Close() {}
