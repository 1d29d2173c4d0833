package affected

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/schema"
)

func file(path, pkg string, o schema.Outline) File {
	o.Package = pkg
	return File{Path: path, Outline: o}
}

// small is a repository with every kind of lab and part.
func small() []File {
	module := schema.Outline{Module: "x.example"}
	named := schema.Outline{Name: true}
	return []File{
		file("cue.mod/module.cue", "", module),
		file("cue.mod/pkg/other.example/lib/lib.cue", "lib", schema.Outline{}),
		file("alone.cue", "", named),
		file("uses.cue", "", schema.Outline{Name: true, Imports: []string{"list", "x.example/parts"}}),
		file("vendor.cue", "", schema.Outline{Name: true, Imports: []string{"other.example/lib:lib"}}),
		file("parts/parts.cue", "parts", schema.Outline{Imports: []string{"x.example/parts/deep:deep"}}),
		file("parts/deep/deep.cue", "deep", schema.Outline{Imports: []string{"x.example/parts"}}), // CUE refuses the circle, not we
		file("whole/main.cue", "whole", named),
		file("whole/nets.cue", "whole", schema.Outline{Embeds: true}),
		file("set/one.cue", "set", schema.Outline{Embeds: true, Imports: []string{"x.example/base"}}),
		file("set/two.cue", "set", named),
		file("set/help.cue", "set", schema.Outline{}),
		file("base/base.cue", "base", schema.Outline{Embeds: true}),
		file("set/schema.cue", "set", schema.Outline{Written: true}),
		file("inner/cue.mod/module.cue", "", schema.Outline{Module: "inner.example"}),
		file("inner/lab.cue", "", schema.Outline{Name: true, Imports: []string{"inner.example/parts"}}),
		file("inner/parts/parts.cue", "parts", schema.Outline{}),
		file("broken.cue", "", schema.Outline{Embeds: true}),
	}
}

// named says that one.cue has a name by what it embeds, that broken.cue cannot be read, and that nothing else has one.
func named(files []string) (bool, error) {
	switch strings.Join(files, " ") {
	case "set/one.cue":
		return true, nil
	case "broken.cue":
		return false, errors.New("broken")
	}
	return false, nil
}

func TestLabs(t *testing.T) {
	for _, c := range []struct {
		changed, want string
	}{
		{"README.md", ""},
		{"alone.cue", "alone.cue"},
		{"parts/parts.cue", "uses.cue"},
		{"parts/deep/deep.cue", "uses.cue"},
		{"parts/gone.cue", "uses.cue"},
		{"parts/README.md", ""},
		{"gone.cue", ""},
		{"cue.mod/pkg/other.example/lib/lib.cue", "vendor.cue"},
		{"cue.mod/module.cue", "alone.cue; broken.cue; set/one.cue; set/two.cue; uses.cue; vendor.cue; whole/main.cue whole/nets.cue"},
		{"whole/nets.cue", "whole/main.cue whole/nets.cue"},
		{"whole/gone.cue", "whole/main.cue whole/nets.cue"},
		{"set/one.cue", "set/one.cue"},
		{"set/two.cue", "set/two.cue"},
		{"set/help.cue", ""},
		{"set/schema.cue", ""},
		{"base/base.cue", "set/one.cue"},
		{"inner/parts/parts.cue", "inner/lab.cue"},
		{"inner/cue.mod/module.cue", "inner/lab.cue"},
		{"broken.cue alone.cue", "alone.cue; broken.cue"},
	} {
		var got []string
		for _, l := range Labs(small(), strings.Fields(c.changed), named) {
			got = append(got, strings.Join(l, " "))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, "; ")); diff != "" {
			t.Errorf("%s: %s", c.changed, diff)
		}
	}
}

// TestOnlyWhatIsTouched holds that a change does not make everything in the repository be read.
func TestOnlyWhatIsTouched(t *testing.T) {
	var asked []string
	Labs(small(), []string{"set/one.cue"}, func(files []string) (bool, error) {
		asked = append(asked, files...)
		return named(files)
	})
	if slices.Contains(asked, "broken.cue") || slices.Contains(asked, "base/base.cue") {
		t.Errorf("asked about %v", asked)
	}
}

// BenchmarkLabs is a change of one part in a repository of a thousand labs, of which a tenth imports it.
func BenchmarkLabs(b *testing.B) {
	files := []File{file("cue.mod/module.cue", "", schema.Outline{Module: "x.example"})}
	for i := range 1000 {
		files = append(files, file(fmt.Sprintf("labs/lab%d.cue", i), "", schema.Outline{Name: true, Imports: []string{fmt.Sprintf("x.example/part%d", i%10)}}))
	}
	for i := range 10 {
		files = append(files, file(fmt.Sprintf("part%d/part.cue", i), "part", schema.Outline{}))
	}
	for b.Loop() {
		if n := len(Labs(files, []string{"part3/part.cue"}, named)); n != 100 {
			b.Fatal(n)
		}
	}
}
