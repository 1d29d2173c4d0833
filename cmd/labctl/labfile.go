package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// labFile is a file of a lab that is to be written; without a path there is none.
type labFile struct {
	path string // absolute
	name string // as the user knows it
	add  bool   // to what is in it
	text []byte
}

// placeFor is the file that --write means.
func (r *road) placeFor(write string) (labFile, error) {
	if write == "" {
		return labFile{}, nil
	}
	name := write
	folder := isFolder(r.flags.path)
	if isFolder(write) {
		name = filepath.Join(write, "adopted.cue")
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return labFile{}, err
	}
	own, err := filepath.Abs(r.flags.path)
	switch {
	case err != nil:
		return labFile{}, err
	case !folder && path != own:
		return labFile{}, fmt.Errorf("cannot write to %s: the lab is the one file %s, which would not see it; --write %s adds to that", write, r.flags.path, r.flags.path)
	case !folder:
		return labFile{path: path, name: name, add: true}, nil
	case filepath.Dir(path) != own || filepath.Ext(path) != ".cue":
		return labFile{}, fmt.Errorf("cannot write to %s: the lab is the folder %s, which sees only .cue files in it", write, r.flags.path)
	}
	if _, err := os.Lstat(path); err == nil {
		return labFile{}, fmt.Errorf("cannot write to %s: it is there already; name a new file with --write", name)
	}
	return labFile{path: path, name: name}, nil
}

// fill sets what the file will hold: text, or what it holds with text after it.
func (f *labFile) fill(text []byte) error {
	if !f.add {
		f.text = text
		return nil
	}
	old, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("cannot add to the lab: %w", err)
	}
	f.text = []byte(strings.TrimRight(string(old), "\n") + "\n\n" + string(text))
	return nil
}

// write puts the file where it belongs, whole or not at all.
func (f labFile) write() error {
	if f.path == "" {
		return nil
	}
	mode := os.FileMode(0o644)
	if info, err := os.Stat(f.path); err == nil {
		mode = info.Mode().Perm()
	}
	next := f.path + ".new"
	err := os.WriteFile(next, f.text, mode)
	if err == nil {
		err = os.Rename(next, f.path)
	}
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", f.name, err)
	}
	return nil
}
