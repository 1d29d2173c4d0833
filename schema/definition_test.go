package schema_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/parser"
	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

// The definition is also the reference: every field says what it is.
func TestEveryFieldIsExplained(t *testing.T) {
	f, err := parser.ParseFile("schema.cue", schema.Definition(), parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	bare := map[string]bool{"sha512": true} // explained with the field before it
	for _, d := range f.Decls {
		def, ok := d.(*ast.Field)
		if !ok || def.Label.(*ast.Ident).Name == "#Catalogue" || def.Label.(*ast.Ident).Name == "#Role" {
			continue
		}
		if len(ast.Comments(def)) == 0 {
			t.Errorf("%v has no comment", def.Label)
		}
		body, ok := def.Value.(*ast.StructLit)
		if !ok {
			continue
		}
		for _, e := range body.Elts {
			if field, ok := e.(*ast.Field); ok && len(ast.Comments(field)) == 0 && !bare[field.Label.(*ast.Ident).Name] {
				t.Errorf("%v.%v has no comment", def.Label, field.Label)
			}
		}
	}
}

func TestDefinitionIsOneFormattedFile(t *testing.T) {
	text := schema.Definition()
	pretty, err := format.Source(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(pretty), string(text)); diff != "" {
		t.Errorf("not as cue fmt writes it:\n%s", diff)
	}
	if a, b := strings.Count(string(text), "\n"), strings.Count(string(schema.DefinitionIn("p")), "\n"); a != b {
		t.Errorf("%d lines, with a package clause %d: places would differ", a, b)
	}
	// Read beside a lab it applies to it, as for `cue vet lab.cue schema.cue`.
	v := cuecontext.New().CompileString(string(text) + "\nname: \"x\"\nservers: a: cpus: 99\n")
	if err := v.Validate(); err == nil || !strings.Contains(err.Error(), "servers.a.cpus") {
		t.Errorf("a wrong lab beside the definition: %v, want an error about servers.a.cpus", err)
	}
}

func TestCatalogue(t *testing.T) {
	images, err := schema.Catalogue()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	l := lab.Lab{Name: "x", Domain: "x.lab", Images: images,
		Networks: []lab.Network{{Name: "n", CIDR: netip.MustParsePrefix("10.0.0.0/24"), MTU: 1500}}}
	for _, i := range images {
		names = append(names, i.Name)
		if strings.HasSuffix(i.Name, "-arm64") != (i.Arch == lab.ARM64) {
			t.Errorf("image %s is for %s", i.Name, i.Arch)
		}
		l.Machines = append(l.Machines, lab.Machine{Name: strings.ReplaceAll(i.Name, ".", "-"), Memory: lab.GiB, Arch: i.Arch, Firmware: lab.UEFI,
			Image: i.Name, Disks: []lab.Disk{{Name: "root", Size: 8 * lab.GiB}}, NICs: []lab.NIC{{Network: "n", Link: lab.Up}}})
	}
	want := []string{"debian-12", "debian-12-arm64", "debian-12-minimal", "debian-12-minimal-arm64", "debian-13", "debian-13-arm64",
		"ubuntu-24.04", "ubuntu-24.04-arm64"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	if f := check.Vet(lab.Complete(l)); len(f) > 0 {
		t.Errorf("Vet: %v", f)
	}
}

func TestImageOfTheMachine(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+`
images: "debian-13": {url: "file:///mine.qcow2", sha256: "`+strings.Repeat("A", 64)+`", kernel: true}
servers: {
	a: {}
	b: arch:  "arm64"
	c: image: "debian-13"
	d: {image: "debian-12-minimal", arch: "arm64"}
	e: {image: "debian-12-minimal", firmware: "uefi"}
	f: {image: "ubuntu-24.04-arm64", arch: "arm64"}
	g: image: "nix"
}`)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range s.Lab.Machines {
		got[m.Name] = m.Image + " " + string(m.Firmware)
	}
	want := map[string]string{"a": "debian-12 bios", "b": "debian-12-arm64 uefi", "c": "debian-13 kernel", "d": "debian-12-minimal-arm64 kernel",
		"e": "debian-12-minimal uefi", "f": "ubuntu-24.04-arm64 uefi", "g": "nix bios"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("image and firmware (-want +got):\n%s", diff)
	}
	if i, _ := s.Lab.Image("debian-13"); i.URL != "file:///mine.qcow2" || i.Digest != "sha256:"+strings.Repeat("a", 64) {
		t.Errorf("the lab's own debian-13 is %+v", i)
	}
}

func TestCheckOptions(t *testing.T) {
	const def = `
import "time"

// The accelerator.
accelerator: *"auto" | "kvm" | "tcg" @want("\"auto\", \"kvm\" or \"tcg\"")
cpus?: int & >0
wait: *"5s" | time.Duration()
`
	tests := []struct {
		options string
		want    map[string]any
		err     string
	}{
		{``, map[string]any{"accelerator": "auto", "wait": "5s"}, ""},
		{`{"accelerator":"tcg","cpus":2}`, map[string]any{"accelerator": "tcg", "cpus": 2.0, "wait": "5s"}, ""},
		{`{"accelerator":"hvf"}`, nil, `lab.cue:5:3: targets.local.accelerator: "hvf" is not "auto", "kvm" or "tcg" (rule at qemu options:5:14)`},
		{`{"acelerator":"tcg"}`, nil, `lab.cue:4:10: targets.local.acelerator: unknown field, did you mean "accelerator"?`},
		{`{"cpus":0}`, nil, `lab.cue:4:10: targets.local.cpus: invalid value 0 (out of bound >0)`},
		{`{"cpus":"x"}`, nil, `lab.cue:4:10: targets.local.cpus: "x" is not a whole number (rule at qemu options:6:1)`},
	}
	for _, tt := range tests {
		t.Run(tt.options, func(t *testing.T) {
			text := "name: \"x\"\n\n\ntargets: local: {\n\t\taccelerator: \"hvf\"\nprovider: \"qemu\"}\n"
			s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", text)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := schema.CheckOptions(def, lab.Target{Name: "local", Provider: "qemu", Options: json.RawMessage(tt.options)})
			if err = s.Locate(err); tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Errorf("error:\n%v\nwant\n%s", err, tt.err)
				}
			} else if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if _, err := schema.CheckOptions("x: {", lab.Target{Provider: "qemu"}); err == nil || !strings.Contains(err.Error(), "provider qemu") {
		t.Errorf("a broken definition: %v, want an error that names the provider", err)
	}
}
