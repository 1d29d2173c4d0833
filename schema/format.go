package schema

import (
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
)

// Format is the text of a CUE file as CUE's formatter writes it. What cannot be read is an Errors, whose positions are in
// name.
func Format(name string, text []byte) ([]byte, error) {
	f, err := syntax(name, text)
	if err != nil {
		return nil, err
	}
	out, err := format.Node(f)
	if err != nil {
		return nil, syntaxErrors(name, err)
	}
	return out, nil
}

// syntax reads one file by itself.
func syntax(name string, text []byte) (*ast.File, error) {
	f, err := parser.ParseFile(name, text, parser.ParseComments)
	if err != nil {
		return nil, syntaxErrors(name, err)
	}
	return f, nil
}

// syntaxErrors are the errors of CUE's parser, all of them in one file.
func syntaxErrors(name string, err error) error {
	var es Errors
	for _, e := range errors.Errors(err) {
		one := Error{Message: message(e)}
		if p := e.Position(); p.IsValid() {
			one.Positions = []Position{{File: name, Line: p.Line(), Column: p.Column()}}
		}
		es = append(es, one)
	}
	return es.sorted()
}
