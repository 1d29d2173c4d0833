// Package revision reads a git repository: which of its files a commit changes, and its CUE files as they stand in a
// revision or in the index, put into a folder of their own.
//
// It must not know what the files mean. It changes nothing in the repository.
package revision

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Repo is a git repository with its files checked out.
type Repo struct {
	Top    string // absolute: where its files are
	Prefix string // the working folder, relative to Top; "." there
}

// Open finds the repository that dir is in.
func Open(ctx context.Context, dir string) (Repo, error) {
	out, err := command{dir: dir, args: []string{"rev-parse", "--show-toplevel", "--show-prefix"}}.run(ctx)
	if err != nil {
		return Repo{}, fmt.Errorf("cannot find the git repository of %s: %w", dir, err)
	}
	top, prefix, _ := strings.Cut(string(out), "\n")
	return Repo{Top: top, Prefix: filepath.Clean(strings.TrimSuffix(prefix, "\n"))}, nil
}

// cueFiles are the files that a lab can be made of, wherever in the repository.
const cueFiles = ":(top,glob)**/*.cue"

// Changed are the files that the next commit changes, those that it deletes included: relative to Top, with slashes.
func (r Repo) Changed(ctx context.Context) ([]string, error) {
	out, err := r.git(ctx, "diff", "--cached", "--name-only", "--no-renames", "--no-ext-diff", "--ignore-submodules", "-z")
	if err != nil {
		return nil, fmt.Errorf("cannot find out what the commit changes: %w", err)
	}
	return split(out), nil
}

// Files are the CUE files that are there now, tracked or not, apart from those that git ignores: relative to Top.
func (r Repo) Files(ctx context.Context) ([]string, error) {
	out, err := r.git(ctx, "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", cueFiles)
	if err != nil {
		return nil, fmt.Errorf("cannot list the files of %s: %w", r.Top, err)
	}
	return split(out), nil
}

// Index is the name of what the next commit will be, for Write.
const Index = ""

// Write puts all CUE files of a revision into folder, which must be there and empty, and says which: relative to folder.
func (r Repo) Write(ctx context.Context, revision, folder string) ([]string, error) {
	var env []string
	if revision != Index {
		if _, err := r.git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{tree}"); err != nil {
			return nil, fmt.Errorf("git has no revision %q here", revision)
		}
		index, err := os.MkdirTemp("", "labctl-index-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(index)
		env = []string{"GIT_INDEX_FILE=" + filepath.Join(index, "index")}
		if _, err := (command{dir: r.Top, env: env, args: []string{"read-tree", revision + "^{tree}"}}).run(ctx); err != nil {
			return nil, fmt.Errorf("cannot read revision %s: %w", revision, err)
		}
	}
	list, err := command{dir: r.Top, env: env, args: []string{"ls-files", "-z", "--", cueFiles}}.run(ctx)
	if err == nil {
		_, err = command{dir: r.Top, env: env, in: list, args: []string{"checkout-index", "--stdin", "-z", "--prefix=" + folder + "/"}}.run(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the files of the repository %s: %w", r.Top, err)
	}
	return split(list), nil
}

// Hooks is the folder of the repository's hooks, absolute, and whether it is the repository's own: not one that its user
// has for several.
func (r Repo) Hooks(ctx context.Context) (folder string, own bool, err error) {
	out, err := r.git(ctx, "rev-parse", "--git-path", "hooks")
	var common []byte
	if err == nil {
		common, err = r.git(ctx, "rev-parse", "--git-common-dir")
	}
	if err != nil {
		return "", false, fmt.Errorf("cannot find the hooks of the repository %s: %w", r.Top, err)
	}
	folder = r.absolute(out)
	return folder, below(folder, r.Top) || below(folder, r.absolute(common)), nil
}

// absolute is a path that git printed, which is relative to where it ran.
func (r Repo) absolute(out []byte) string {
	path := strings.TrimSuffix(string(out), "\n")
	if !filepath.IsAbs(path) {
		path = filepath.Join(r.Top, path)
	}
	return path
}

func below(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

func (r Repo) git(ctx context.Context, args ...string) ([]byte, error) {
	return command{dir: r.Top, args: args}.run(ctx)
}

// command is one run of git.
type command struct {
	dir  string
	env  []string // besides our own
	in   []byte
	args []string
}

// run returns what git printed; its error is what git said.
func (c command) run(ctx context.Context) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", c.args...)
	cmd.Dir, cmd.Stdin = c.dir, bytes.NewReader(c.in)
	cmd.Env = append(append(os.Environ(), "LC_ALL=C"), c.env...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		said := strings.TrimPrefix(strings.TrimSpace(string(exit.Stderr)), "fatal: ")
		return nil, fmt.Errorf("git %s: %s", c.args[0], strings.ReplaceAll(said, "\n", "; "))
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("git is not installed (Debian: apt-get install git)")
	}
	return out, err
}

// split is a list with a NUL after each.
func split(out []byte) []string {
	var all []string
	for _, s := range strings.Split(string(out), "\x00") {
		if s != "" {
			all = append(all, s)
		}
	}
	return all
}
