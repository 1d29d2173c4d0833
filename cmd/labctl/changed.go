package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/labctl-dev/labctl/cmd/labctl/internal/affected"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/revision"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/schema"
)

// tree is the CUE files of a repository, as they stand somewhere.
type tree struct {
	dir   string   // where the repository's top stands
	from  string   // where the working folder stands; files are named relative to it
	files []string // relative to dir, with slashes
}

// repository is the git repository of the working folder.
func repository(ctx context.Context) (revision.Repo, error) {
	dir, err := os.Getwd()
	if err != nil {
		return revision.Repo{}, err
	}
	return revision.Open(ctx, dir)
}

// treeAt puts a revision's files into a folder that done removes.
func treeAt(ctx context.Context, r revision.Repo, rev string) (t tree, done func(), err error) {
	dir, err := os.MkdirTemp("", "labctl-tree-")
	if err != nil {
		return tree{}, nil, err
	}
	done = func() { _ = os.RemoveAll(dir) } // it is the system's to clean what is left
	t = tree{dir: dir, from: filepath.Join(dir, r.Prefix)}
	if t.files, err = r.Write(ctx, rev, dir); err == nil {
		err = os.MkdirAll(t.from, 0o700)
	}
	if err != nil {
		done()
		return tree{}, nil, err
	}
	return t, done, nil
}

// name is a file of the tree as the user would type it.
func (t tree) name(file string) string {
	rel, err := filepath.Rel(t.from, filepath.Join(t.dir, file))
	if err != nil {
		return file
	}
	return rel
}

// options read files of the tree.
func (t tree) options(files []string, tags []string) schema.Options {
	o := schema.Options{Dir: t.from, Tags: tags}
	for _, f := range files {
		o.Args = append(o.Args, t.name(f))
	}
	return o
}

// vetChanged checks the labs that files are part of; without any those of the commit that is being made, as it will
// have them.
func (c *cli) vetChanged(ctx context.Context, f labFlags, files []string) ([]view.LocatedFinding, error) {
	r, err := repository(ctx)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return c.vetCommit(ctx, f, r)
	}
	changed := make([]string, len(files))
	for i, name := range files {
		if changed[i], err = filepath.Rel(r.Top, filepath.Join(r.Top, r.Prefix, name)); filepath.IsAbs(name) {
			changed[i], err = filepath.Rel(r.Top, name)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot find %s below %s: %w", name, r.Top, err)
		}
		changed[i] = filepath.ToSlash(changed[i])
	}
	t := tree{dir: r.Top, from: filepath.Join(r.Top, r.Prefix)}
	if t.files, err = r.Files(ctx); err != nil {
		return nil, err
	}
	return c.vetTree(ctx, f, t, changed)
}

// vetCommit checks the labs that the commit touches that is being made.
func (c *cli) vetCommit(ctx context.Context, f labFlags, r revision.Repo) ([]view.LocatedFinding, error) {
	changed, err := r.Changed(ctx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(changed, func(name string) bool { return filepath.Ext(name) == ".cue" }) {
		return []view.LocatedFinding{}, nil
	}
	t, done, err := treeAt(ctx, r, revision.Index)
	if err != nil {
		return nil, err
	}
	defer done()
	return c.vetTree(ctx, f, t, changed)
}

// vetTree checks the labs of a tree that changed files are part of.
func (c *cli) vetTree(ctx context.Context, f labFlags, t tree, changed []string) ([]view.LocatedFinding, error) {
	v, err := c.newVetting()
	if err != nil {
		return nil, err
	}
	defer v.close()
	var files []affected.File
	for _, name := range t.files {
		text, err := os.ReadFile(filepath.Join(t.dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and git does not know it yet
		}
		if err != nil {
			return nil, err
		}
		o, err := schema.OutlineOf(t.name(name), text)
		var es schema.Errors
		if errors.As(err, &es) && slices.Contains(changed, name) {
			v.add(located(es))
		}
		if err == nil {
			files = append(files, affected.File{Path: name, Outline: o})
		}
	}
	named := func(files []string) (bool, error) { return schema.Named(t.options(files, nil)) }
	for _, l := range affected.Labs(files, changed, named) {
		one := f
		one.path = t.name(l[0])
		if err := v.lab(ctx, one, t.options(l, f.tags)); err != nil {
			return nil, err
		}
	}
	return v.found, nil
}
