// Package view renders labctl's values for people: plans, reports, findings, status, progress. Values in, text out.
//
// It must not know where a value came from nor what is done with it: it reads no file, no environment and no clock
// (Progress alone measures time), and writes to nothing but the writer it is given. Every human view has its
// machine-readable twin in JSON of the same value.
package view

import (
	"encoding/json"
	"fmt"
	"io"
)

// Options say what the reader's screen can do.
type Options struct {
	Color bool // ANSI escape codes are understood
	Width int  // columns; 0 means that lines may be as long as they need
}

// JSON writes v as indented JSON and a newline. Maps are sorted by key, so equal values are equal text.
func JSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("cannot write JSON: %w", err)
	}
	return nil
}
