package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/cue/parser"

	"github.com/labctl-dev/labctl/lab"
)

// Options say which lab to load.
type Options struct {
	Args []string // one file, several files of one package, or a package's directory
	Dir  string   // what Args are relative to; "" is the working directory
	Tags []string // name=value for fields with @tag(name)
	// Target is the name of the target that the lab is meant for, for fields with @tag(NAME,var=target): what must be
	// otherwise there. "" is the one that is meant where none is named.
	Target string
	// Instead has the content of files, by absolute path, in place of what is on disk or as if it were there.
	Instead map[string][]byte
}

// Spec is a lab as its user wrote it.
type Spec struct {
	Lab      lab.Lab         // complete: defaults, addresses and MACs filled in
	Package  string          // of the files' package clause; "" without one
	user     cue.Value       // the user's files alone
	inst     *build.Instance // the same, not built
	files    files
	unset    []string                 // tags of the lab's fields that were not given
	targeted bool                     // a field takes the target's name
	services map[string][]lab.Service // the lab's names for services
	given    map[string][]string      // where a machine has the role that has given it something, by the path of that
}

// Load reads the lab that o names. What is wrong in the user's files is an Errors; anything else (a file that is not
// there) another error. Load does not say whether the lab makes sense: see check.Vet.
func Load(o Options) (*Spec, error) {
	inst, s, err := read(o)
	if err != nil {
		return nil, err
	}
	ctx, def, err := compiled()
	if err != nil {
		return nil, err
	}
	// With the definition as scope, a lab may name #Machine or #Role without importing anything.
	s.inst, s.user = inst, ctx.BuildInstance(inst, cue.Scope(def))
	x := explainer{spec: s, rules: def, name: "#Lab", file: ruleFile}
	if err := s.user.Err(); err != nil && !s.user.Exists() {
		return nil, x.explain(err).sorted()
	}
	all := x.def().Unify(s.user)
	if err := all.Validate(cue.Concrete(true)); err != nil {
		settled := x.def().Unify(settle(s.user))
		if settled.Validate(cue.Concrete(true)) != nil {
			return nil, x.all(err, s.user).sorted()
		}
		all = settled
	}
	text, err := all.MarshalJSON()
	if err != nil {
		return nil, x.explain(err).sorted()
	}
	catalogue, err := decodeImages(def.LookupPath(cue.ParsePath("#Catalogue")))
	if err != nil {
		return nil, err
	}
	l, doc, d := decode(text, catalogue, filepath.Dir(s.files.first))
	if d.problems = append(d.problems, s.adopted(l)...); len(d.problems) > 0 {
		return nil, s.Locate(d.problems)
	}
	if err := s.equip(def, all, d, &l, doc); err != nil {
		return nil, err
	}
	authorities(&l)
	if len(d.problems) > 0 {
		return nil, s.Locate(d.problems)
	}
	s.Lab, s.services, s.given = lab.Arrange(l), d.services, d.given
	return s, nil
}

// settle is the user's lab with its own defaults chosen. A default of the lab's and another one of the definition's for
// the same field would leave both undecided; the user's is the one that is meant. A lab that is not complete by itself is
// returned as it is.
func settle(user cue.Value) cue.Value {
	if user.Validate(cue.Concrete(true)) != nil {
		return user
	}
	text, err := user.MarshalJSON()
	if err != nil {
		return user
	}
	return user.Context().CompileBytes(text)
}

// read finds the user's files and parses them.
func read(o Options) (*build.Instance, *Spec, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot find the folder %s: %w", o.Dir, err)
	}
	s := &Spec{files: files{dir: dir}}
	args, err := arguments(dir, o.Args)
	if err != nil {
		return nil, nil, err
	}
	s.files.absolute = filepath.IsAbs(o.Args[0])
	// From its own folder the lab's module (cue.mod) is found wherever labctl was started.
	home := filepath.Dir(args[0])
	if info, err := os.Stat(args[0]); err == nil && info.IsDir() {
		there, err := os.ReadDir(args[0])
		isCUE := func(e os.DirEntry) bool { return !e.IsDir() && filepath.Ext(e.Name()) == ".cue" }
		if err == nil && !slices.ContainsFunc(there, isCUE) && len(o.Instead) == 0 {
			return nil, nil, fmt.Errorf("cannot read %s: there is no .cue file in this folder", o.Args[0])
		}
		home, args = args[0], []string{"."}
	}
	overlay := map[string]load.Source{}
	for name, text := range o.Instead {
		overlay[name] = load.FromBytes(text)
	}
	insts := load.Instances(args, &load.Config{Dir: home, Tags: o.Tags, TagVars: variables(o), ParseFile: parse, Overlay: overlay})
	var none *load.NoFilesError
	if len(insts) == 1 && errors.As(insts[0].Err, &none) {
		return nil, nil, fmt.Errorf("cannot read %s: a folder is a lab if its .cue files have one package clause; else name a file", o.Args[0])
	}
	if len(insts) != 1 {
		return nil, nil, fmt.Errorf("%s: %d packages, and a lab is one", strings.Join(o.Args, " "), len(insts))
	}
	if insts[0].Err == nil {
		if all := insts[0].BuildFiles; len(all) > 0 {
			s.files.first = all[0].Filename
			s.Package = strings.Trim(insts[0].PkgName, "_")
			s.unset = unset(insts[0].Files, o.Tags)
			s.targeted = targeted(insts[0].Files)
		}
		return insts[0], s, nil
	}
	var es Errors
	for _, e := range errors.Errors(insts[0].Err) {
		text := message(e)
		if tag, ok := unusedTag(e); ok {
			text = fmt.Sprintf("-D %s: no field of the lab has @tag(%s)", tagArg(o.Tags, tag), tag)
		}
		one := Error{Message: text}
		for _, p := range errors.Positions(e) {
			if q, ok := s.files.position(p); ok {
				one.Positions = append(one.Positions, q)
				break
			}
		}
		es = append(es, one)
	}
	return nil, nil, es.sorted()
}

// variables are what a tag may take its value from when none is given.
func variables(o Options) map[string]load.TagVar {
	return map[string]load.TagVar{"target": {
		Func:        func() (ast.Expr, error) { return ast.NewString(o.Target), nil },
		Description: "the target that -t names",
	}}
}

// arguments are args as absolute paths; it checks that they are there, which CUE says less well.
func arguments(dir string, args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, fmt.Errorf("no lab: name a file such as lab.cue, or a folder")
	}
	out := make([]string, len(args))
	for i, a := range args {
		out[i] = a
		if !filepath.IsAbs(a) {
			out[i] = filepath.Join(dir, a)
		}
		info, err := os.Stat(out[i])
		switch {
		case err != nil:
			return nil, fmt.Errorf("cannot read %s: %w", a, cause(err))
		case !info.IsDir() && filepath.Ext(a) != ".cue":
			return nil, fmt.Errorf("cannot read %s: a lab is a .cue file", a)
		case info.IsDir() && len(args) > 1:
			return nil, fmt.Errorf("cannot read %s: name one folder, or files", a)
		}
	}
	return out, nil
}

func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// parse reads one file. One that `labctl schema` wrote into the package counts as empty: this program has its own
// definition, which may be newer.
func parse(name string, src any, cfg parser.Config) (*ast.File, error) {
	f, err := parser.ParseFile(name, src, cfg)
	if err != nil {
		return f, err
	}
	for _, d := range f.Decls {
		if a, ok := d.(*ast.Attribute); ok && a.Text == generated {
			f.Decls = slices.DeleteFunc(f.Preamble(), func(d ast.Decl) bool {
				_, ok := d.(*ast.Package)
				return !ok
			})
			f.Unresolved = nil
			break
		}
	}
	return f, nil
}

// unusedTag is the tag that an error of the loader is about. CUE has no type for it.
func unusedTag(e errors.Error) (string, bool) {
	format, args := e.Msg()
	if (format == "no tag for %q" || format == "tag %q not used in any file") && len(args) == 1 {
		return fmt.Sprint(args[0]), true
	}
	return "", false
}

func tagArg(tags []string, name string) string {
	for _, t := range tags {
		if strings.HasPrefix(t, name+"=") {
			return t
		}
	}
	return name
}

// Targeted says whether the lab may be another one for another target (Options.Target).
func (s *Spec) Targeted() bool { return s.targeted }

func targeted(files []*ast.File) bool {
	found := false
	for _, f := range files {
		ast.Walk(f, func(n ast.Node) bool {
			if a, ok := n.(*ast.Attribute); ok {
				key, body := a.Split()
				found = found || key == "tag" && strings.Contains(body, "var=target")
			}
			return !found
		}, nil)
	}
	return found
}

// unset are the names in @tag attributes of files that are not among tags.
func unset(files []*ast.File, tags []string) []string {
	var out []string
	for _, f := range files {
		ast.Walk(f, func(n ast.Node) bool {
			a, ok := n.(*ast.Attribute)
			if !ok {
				return true
			}
			key, body := a.Split()
			name, rest, _ := strings.Cut(body, ",")
			given := strings.Contains(rest, "var=") || slices.ContainsFunc(tags, func(t string) bool { return strings.HasPrefix(t, name+"=") })
			if key == "tag" && !given && !slices.Contains(out, name) {
				out = append(out, name)
			}
			return true
		}, nil)
	}
	return out
}
