// Package affected says which labs a change of some files touches: those that the files are part of, and those that
// import what they are part of. Values in, values out.
//
// It must not know git nor CUE's syntax, and reads no file: whoever asks brings what each file says of itself.
package affected

import (
	"path"
	"slices"
	"strings"

	"github.com/labctl-dev/labctl/schema"
)

// File is one CUE file of a repository.
type File struct {
	Path string // relative to the repository's top, with slashes
	schema.Outline
}

// Named says whether files, read together, have a name as a lab has; an error says that they cannot be read together. It
// is asked only of files that have none of their own and embed something, which may have one.
type Named func(files []string) (bool, error)

// Labs are the labs that a change of files touches, each as the files of one folder that it is made of, in the order of
// their names. A file that is changed and not among files is gone.
//
// Files of one package are one lab if one of them has a name; if several have, each of these is a lab by itself. What no
// file of has one is no lab, but part of those that import it.
func Labs(files []File, changed []string, named Named) [][]string {
	r := repository{folders: map[string][]File{}, modules: map[string]string{}, named: named}
	changed = slices.DeleteFunc(slices.Clone(changed), func(c string) bool { return path.Ext(c) != ".cue" })
	for _, f := range files {
		dir := path.Dir(f.Path)
		if path.Base(f.Path) == "module.cue" && path.Base(dir) == "cue.mod" {
			r.modules[path.Dir(dir)] = f.Module
			continue
		}
		if f.Written {
			changed = slices.DeleteFunc(changed, func(c string) bool { return c == f.Path })
			continue
		}
		r.folders[dir] = append(r.folders[dir], f)
	}
	var out [][]string
	for _, together := range r.packages() {
		if !r.touched(together, changed) {
			continue
		}
		for _, l := range r.labs(together) {
			if r.touched(l, changed) {
				out = append(out, names(l))
			}
		}
	}
	slices.SortFunc(out, slices.Compare[[]string])
	return out
}

// repository is its files, by what finds them.
type repository struct {
	folders map[string][]File
	modules map[string]string // the path of a module, by the folder that has its cue.mod
	named   Named
}

func names(files []File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Path)
	}
	slices.Sort(out)
	return out
}

// packages are the files that CUE may read together; a file without a package clause is alone.
func (r repository) packages() [][]File {
	var out [][]File
	for dir, files := range r.folders {
		if slices.Contains(strings.Split(dir, "/"), "cue.mod") {
			continue
		}
		by := map[string][]File{}
		for _, f := range files {
			if f.Package == "" || f.Package == "_" {
				out = append(out, []File{f})
			} else {
				by[f.Package] = append(by[f.Package], f)
			}
		}
		for _, all := range by {
			out = append(out, all)
		}
	}
	return out
}

// labs are the labs that files of one package are.
func (r repository) labs(all []File) [][]File {
	var each [][]File
	embeds := false
	for _, f := range all {
		own := f.Name
		if embeds = embeds || f.Embeds; !own && f.Embeds && len(all) > 1 {
			found, err := r.named([]string{f.Path})
			own = found && err == nil
		}
		if own {
			each = append(each, []File{f})
		}
	}
	if len(each) > 1 {
		return each
	}
	if len(each) == 0 {
		if !embeds {
			return nil
		}
		if found, err := r.named(names(all)); !found && err == nil {
			return nil
		}
	}
	return [][]File{all}
}

// touched says whether a change of files changes what files that are read together come to.
func (r repository) touched(together []File, changed []string) bool {
	own := names(together)
	dir := path.Dir(own[0])
	gone := func(name string) bool { // it may have been one of them
		return together[0].Package != "" && path.Dir(name) == dir && !slices.ContainsFunc(r.folders[dir], func(f File) bool { return f.Path == name })
	}
	if slices.ContainsFunc(changed, func(c string) bool { return slices.Contains(own, c) || gone(c) }) {
		return true
	}
	return r.reaches(together, changed, map[string]bool{})
}

// reaches says whether what files import, or what that imports, is in a folder with a change, or their module is changed;
// seen are the folders that were looked into.
func (r repository) reaches(files []File, changed []string, seen map[string]bool) bool {
	for _, f := range files {
		root, ok := r.root(path.Dir(f.Path))
		if ok && slices.Contains(changed, path.Join(root, "cue.mod", "module.cue")) {
			return true
		}
		for _, i := range f.Imports {
			for _, dir := range r.imported(root, ok, i) {
				if seen[dir] {
					continue
				}
				seen[dir] = true
				if slices.ContainsFunc(changed, func(c string) bool { return path.Dir(c) == dir }) || r.reaches(r.folders[dir], changed, seen) {
					return true
				}
			}
		}
	}
	return false
}

// root is the folder whose cue.mod is that of files in dir.
func (r repository) root(dir string) (string, bool) {
	for ; ; dir = path.Dir(dir) {
		if _, ok := r.modules[dir]; ok {
			return dir, true
		}
		if dir == "." || dir == "/" {
			return "", false
		}
	}
}

// imported are the folders that an import of a file in the module at root may mean.
func (r repository) imported(root string, known bool, spec string) []string {
	if !known {
		return nil
	}
	spec, _, _ = strings.Cut(spec, ":")
	if module := r.modules[root]; module != "" && (spec == module || strings.HasPrefix(spec, module+"/")) {
		return []string{path.Join(root, strings.TrimPrefix(spec, module))}
	}
	var out []string
	for _, place := range []string{"pkg", "gen", "usr"} {
		out = append(out, path.Join(root, "cue.mod", place, spec))
	}
	return out
}
