package guest

import (
	"fmt"
	"strings"
)

// Report is what the converging program says of a run, while it runs and after.
type Report struct {
	Version int     `json:"version"`
	Run     string  `json:"run"` // the name the run was started with
	Check   bool    `json:"check"`
	Digest  string  `json:"digest"` // of the document it worked on; "" if it could not read one
	State   string  `json:"state"`  // "running" or "done"
	PID     int     `json:"pid"`
	OK      bool    `json:"ok"`    // done, and everything is true
	Phase   string  `json:"phase"` // the item it works on
	Done    int64   `json:"done"`  // items
	Total   int64   `json:"total"`
	Seconds float64 `json:"seconds"`
	// Superseded says that the run ended early, because another document had come in the place of the one it worked on.
	Superseded bool         `json:"superseded"`
	Changed    []Difference `json:"changed"` // with Check: what differs
	Errors     []Failure    `json:"errors"`
}

// Failure is an item that could not be made true.
type Failure struct {
	Item   string `json:"item"`
	Error  string `json:"error"`
	Output string `json:"output"` // last lines of what was tried
}

// err is the failures of r as one error, nil if there are none.
func (r Report) err(machine string) error {
	if len(r.Errors) == 0 && !r.Superseded {
		return nil
	}
	if len(r.Errors) == 0 {
		return fmt.Errorf("%s: its last run ended early for a newer guest document, to which nothing has converged it yet; apply does that", machine)
	}
	var b strings.Builder
	for i, f := range r.Errors {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s: %s: %s", machine, f.Item, f.Error)
		for _, line := range strings.Split(f.Output, "\n") {
			if line != "" {
				b.WriteString("\n    " + line)
			}
		}
	}
	return fmt.Errorf("%s", b.String())
}
