package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/labctl-dev/labctl/check/compare"
	"github.com/labctl-dev/labctl/check/reach"
	"github.com/labctl-dev/labctl/cmd/labctl/internal/view"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

func (c *cli) diffCommand() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:   "diff A.cue B.cue | [REV [REV]] LAB",
		Short: "Show what changes from one lab to another: who reaches whom, and what it is made of",
		Long: `Compare two labs, or one lab as it stands in two git revisions; with one revision as it stands in the working folder now,
and with none that with the last commit (HEAD).

What is compared is not the text but what it comes to: what the proof of the policy says that may be opened by whom, on
every way through the lab, which expectations hold, and networks, machines and everything else with all defaults. No
machine and no plugin is asked. A lab that is not there on one side is new, or gone.

Exit code: 0 no difference, 2 a difference, 1 an error.`,
		Example:     "  labctl diff labs/deploy2.cue labs/deploy3.cue\n  labctl diff labs/deploy3.cue\n  labctl diff main HEAD labs/deploy3.cue -o markdown",
		Args:        between(1, 3),
		Annotations: more(markdown),
		RunE: func(cmd *cobra.Command, args []string) error {
			facts, err := c.diff(cmd.Context(), f, args)
			if err != nil {
				return err
			}
			err = c.showAs(facts, func(w io.Writer, o view.Options) error { return view.Diff(w, facts, o) }, writers{
				markdown: func(w io.Writer) error { return view.DiffMarkdown(w, facts) },
			})
			if err == nil && !facts.Empty() {
				return &exitError{2}
			}
			return err
		},
	}
	cmd.Flags().StringArrayVarP(&f.tags, "define", "D", nil, "`tag=value` for a field of both labs with @tag(tag); repeatable")
	completeLabs(cmd)
	return cmd
}

// side is one of the two labs that diff compares.
type side struct {
	name  string // as the user named it
	at    string // what stands before the names of its files: "v1:", or nothing
	spec  *schema.Spec
	lab   lab.Lab // without anything where there is no lab
	proof *reach.Proof
}

// diff compares what args name.
func (c *cli) diff(ctx context.Context, f labFlags, args []string) (view.DiffFacts, error) {
	sides, err := c.sides(ctx, f, args)
	if err != nil {
		return view.DiffFacts{}, err
	}
	before, after := sides[0], sides[1]
	if before.spec == nil && after.spec == nil {
		return view.DiffFacts{}, fmt.Errorf("cannot compare: there is neither %s nor %s", before.name, after.name)
	}
	d, err := compare.Labs(before.lab, after.lab, before.proof, after.proof)
	if err != nil {
		return view.DiffFacts{}, err
	}
	facts := view.DiffFacts{Diff: d, From: before.name, To: after.name}
	for i, passages := range [][]reach.Passage{d.Closes, d.Opens} {
		var paths []string
		for _, p := range passages {
			for _, o := range p.By {
				paths = append(paths, o.Path)
			}
		}
		if sides[i].spec != nil {
			facts.Places[i] = placesOf(sides[i].spec, paths)
			for path, place := range facts.Places[i] {
				place.File = sides[i].at + place.File
				facts.Places[i][path] = place
			}
		}
	}
	return facts, nil
}

// sides are the two labs that args name.
func (c *cli) sides(ctx context.Context, f labFlags, args []string) ([2]side, error) {
	var out [2]side
	path := args[len(args)-1]
	revisions := args[:len(args)-1]
	if len(args) == 2 && isLab(args[0]) {
		for i, name := range args {
			one := f
			one.path = name
			s, err := one.side(name, schema.Options{Args: []string{name}, Tags: f.tags})
			if err != nil {
				return out, err
			}
			if s.spec == nil {
				return out, fmt.Errorf("cannot read %s: no such file or directory", name)
			}
			out[i] = s
		}
		return out, nil
	}
	if len(revisions) == 0 {
		revisions = []string{"HEAD"}
	}
	r, err := repository(ctx)
	if err != nil {
		return out, err
	}
	for i, rev := range revisions {
		t, done, err := treeAt(ctx, r, rev)
		if err != nil {
			return out, err
		}
		out[i], err = f.sideIn(t, r.Top, rev, path)
		done()
		if err != nil {
			return out, err
		}
	}
	if len(revisions) == 1 {
		out[1], err = f.side(path, schema.Options{Args: []string{path}, Tags: f.tags})
	}
	return out, err
}

// isLab says whether an argument is a file or folder rather than a git revision.
func isLab(arg string) bool {
	_, err := os.Stat(arg)
	return err == nil || filepath.Ext(arg) == ".cue"
}

// sideIn is the lab at path as a revision has it.
func (f *labFlags) sideIn(t tree, top, rev, path string) (side, error) {
	if filepath.IsAbs(path) {
		rel, err := filepath.Rel(top, path)
		if err != nil {
			return side{}, err
		}
		path = t.name(rel)
	}
	o := schema.Options{Args: []string{path}, Dir: t.from, Tags: f.tags}
	s, err := f.side(rev+":"+path, o)
	s.at = rev + ":"
	return s, inRevision(s.at, err)
}

// inRevision is an error about a lab whose files are named as those of a revision.
func inRevision(at string, err error) error {
	var es schema.Errors
	var wrong *findingsError
	switch {
	case errors.As(err, &es):
		wrong = &findingsError{located(es)}
	case !errors.As(err, &wrong):
		return err
	}
	found := slices.Clone(wrong.findings)
	for i, f := range found {
		if f.File != "" {
			found[i].File = at + f.File
		}
	}
	return &findingsError{found}
}

// side reads and proves a lab; one that is not there has nothing in it.
func (f *labFlags) side(name string, o schema.Options) (side, error) {
	s := side{name: name}
	path := o.Args[0]
	if !filepath.IsAbs(path) {
		path = filepath.Join(o.Dir, path)
	}
	var err error
	if _, err = os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		s.proof, err = reach.Prove(s.lab)
		return s, err
	}
	s.spec, s.proof, err = proofOf(o)
	if err != nil {
		return s, err
	}
	s.lab = s.spec.Lab
	return s, nil
}
