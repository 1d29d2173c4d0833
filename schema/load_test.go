package schema_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/schema"
)

// folder writes files, given as name and text in turns, into a new folder.
func folder(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The example of the road's first description loads as it is written there.
func TestFirstExample(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", `
name: "quickstart"
networks: {
    lan:    uplink: true                 // the world outside, as the target gives it
    office: cidr: "10.20.0.0/24"
}
servers: {
    web:  {nics: {lan: {}, office: ip: "10.20.0.10"}, memory: "512MiB"}
    db:   nics: office: {}               // address allocated, stable, shown in the plan
}
targets: local: provider: "qemu"
`)})
	if err != nil {
		t.Fatal(err)
	}
	web, _ := s.Lab.Machine("web")
	db, _ := s.Lab.Machine("db")
	if web.Memory != 512*lab.MiB || web.NICs[0].Network != "lan" || web.NICs[1].Addr.String() != "10.20.0.10" || !db.NICs[0].Addr.IsValid() {
		t.Errorf("web is %+v\nand db %+v", web, db)
	}
}

// A lab's own defaults win over the definition's, and parts of machines may be closed definitions.
func TestOwnDefaults(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Tags: []string{"size=2GiB"}, Dir: folder(t, "lab.cue", `
name: "own"
networks: office: cidr: "10.20.0.0/24"
#Small: {memory: string | *"512MiB", cpus: int | *2, nics: office: {...}}
servers: {
	a: #Small
	b: #Small & {memory: "256MiB"}
	c: {nics: office: {}, memory: *"768MiB" | string @tag(size)}
	d: {nics: office: {}, power: *"off" | "on"}
}
`)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range s.Lab.Machines {
		got = append(got, fmt.Sprint(m.Name, " ", m.CPUs, " ", m.Memory, " ", m.Power))
	}
	if diff := cmp.Diff([]string{"a 2 512MiB on", "b 2 256MiB on", "c 1 2GiB on", "d 1 1GiB off"}, got); diff != "" {
		t.Error(diff)
	}
}

// The guest sees an uplink first and the rest as written; disks as written after the root disk.
func TestOrderOfWhatTheGuestSees(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+`
networks: {a: cidr: "10.1.0.0/24", b: cidr: "10.2.0.0/24", z: uplink: true}
servers: m: {nics: {b: {}, a: {}, z: {}}, disks: {two: size: "2GiB", one: size: "1GiB"}, commands: {y: run: "y", x: run: "x"}}
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := s.Lab.Machine("m")
	var got []string
	for _, n := range m.NICs {
		got = append(got, n.Network)
	}
	for _, d := range m.Disks {
		got = append(got, d.Name)
	}
	for _, c := range m.Guest.Commands {
		got = append(got, c.Name)
	}
	if diff := cmp.Diff([]string{"z", "b", "a", "root", "two", "one", "y", "x"}, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}

const head = "name: \"x\"\n"

func TestLoadSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name string
		text string   // what follows `name: "x"`
		want []string // without the numbers of the rule's place
	}{
		{"syntax", "servers: {", []string{`lab.cue:2:11: expected '}', found 'EOF'`}},
		{"text that does not end", "domain: \"a", []string{`lab.cue:2:9: string literal not terminated`}},
		{"reference", "servers: a: memory: much", []string{`lab.cue:2:21: servers.a.memory: reference "much" not found`}},
		{"import", "import \"x.org/y\"\n", []string{`lab.cue:2:8: expected label or ':', found 'STRING' "x.org/y"`}},
		{"unknown field at the top", "servrs: a: {}", []string{`lab.cue:2:1: servrs: unknown field, did you mean "servers"?`}},
		{"unknown fields at several depths", "servers: {\n\tweb: memry: \"1GiB\"\n\tdb: nics: lan: {lnk: \"up\"}\n\tx: zzzzzz: 1\n}", []string{
			`lab.cue:3:7: servers.web.memry: unknown field, did you mean "memory"?`,
			`lab.cue:4:18: servers.db.nics.lan.lnk: unknown field, did you mean "link"?`,
			`lab.cue:5:5: servers.x.zzzzzz: unknown field`,
		}},
		{"unknown beside wrong", "servers: web: {memry: \"1GiB\", cpus: 0}", []string{
			`lab.cue:2:16: servers.web.memry: unknown field, did you mean "memory"?`,
			`lab.cue:2:31: servers.web.cpus: 0 is not a number of processors from 1 to 64 (rule)`,
		}},
		{"size", "servers: web: memory: \"512MB\"", []string{`lab.cue:2:15: servers.web.memory: "512MB" is not a size such as "512MiB" or "10GiB" (rule)`}},
		{"size of another type", "servers: web: memory: 512", []string{`lab.cue:2:15: servers.web.memory: 512 is not a size such as "512MiB" or "10GiB" (rule)`}},
		{"size beyond all", "servers: web: disk: \"99999999999TiB\"", []string{`lab.cue:2:15: servers.web.disk: "99999999999TiB" is no size such as "512MiB" or "10GiB"`}},
		{"choice", "servers: web: power: \"onn\"", []string{`lab.cue:2:15: servers.web.power: "onn" is not "on" or "off" (rule)`}},
		{"choice without default", "servers: web: firmware: \"efi\"", []string{`lab.cue:2:15: servers.web.firmware: "efi" is not "kernel", "bios" or "uefi" (rule)`}},
		{"number", "servers: web: cpus: \"two\"", []string{`lab.cue:2:15: servers.web.cpus: "two" is not a number of processors from 1 to 64 (rule)`}},
		{"struct", "servers: web: nics: \"lan\"", []string{`lab.cue:2:15: servers.web.nics: "lan" is not a struct { ... } (rule)`}},
		{"string", "servers: web: image: 12", []string{`lab.cue:2:15: servers.web.image: 12 is not a string (rule)`}},
		{"list", "servers: web: packages: \"vim\"", []string{`lab.cue:2:15: servers.web.packages: "vim" is not a list (rule)`}},
		{"list's element", "servers: web: packages: [\"vim\", 3]", []string{`lab.cue:2:33: servers.web.packages.1: 3 is not a string (rule)`}},
		{"duration", "servers: web: ready: \"soon\"", []string{`lab.cue:2:15: servers.web.ready: "soon" is not a duration such as "90s" or "20m" (rule)`}},
		{"no duration", "servers: web: ready: \"0s\"", []string{`lab.cue:2:15: servers.web.ready: "0s" is not a duration above zero such as "90s" or "20m"`}},
		{"CIDR", "networks: n: cidr: \"10.0.0.0/33\"", []string{`lab.cue:2:14: networks.n.cidr: "10.0.0.0/33" is not a network such as "10.20.0.0/24" (rule)`}},
		{"no CIDR", "networks: n: {}", []string{`lab.cue:2:11: networks.n: needs a cidr such as "10.20.0.0/24", or uplink: true`}},
		{"address", "servers: web: nics: n: ip: \"10.0.0.256\"", []string{`lab.cue:2:24: servers.web.nics.n.ip: "10.0.0.256" is not an IP address such as "10.20.0.10" (rule)`}},
		{"half a DHCP range", "networks: n: {cidr: \"10.0.0.0/24\", dhcp: from: \"10.0.0.9\"}", []string{`lab.cue:2:36: networks.n.dhcp.to: is required`}},
		{"MAC", "servers: web: nics: n: mac: \"02-00\"", []string{`lab.cue:2:24: servers.web.nics.n.mac: "02-00" is not a MAC address such as "02:00:00:00:00:01" (rule)`}},
		{"two values", "servers: web: memory: \"1GiB\"\nservers: web: memory: \"2GiB\"", []string{
			`lab.cue:2:23: servers.web.memory: conflicting values "2GiB" and "1GiB" (also lab.cue:3:23)`}},
		{"choice of one's own", "_p: \"dev\" | \"prod\"\n_p: \"x\"\n", []string{`lab.cue:2:5: _p: "x" is not "dev" or "prod" (also lab.cue:3:5)`}},
		{"file without content", "servers: web: files: \"/a\": {}", []string{`lab.cue:2:22: servers.web.files."/a": needs exactly one of text, secret and from`}},
		{"file with two contents", "servers: web: files: \"/a\": {text: \"\", secret: \"x\"}", []string{`lab.cue:2:22: servers.web.files."/a": needs exactly one of text, secret and from`}},
		{"secret without source", "secrets: a: {}", []string{`lab.cue:2:10: secrets.a: needs exactly one of env, file, generate, certificate and authority`}},
		{"image without source", "images: a: {}", []string{`lab.cue:2:9: images.a: needs exactly one of url and build`}},
		{"image without digest", "images: a: url: \"http://x/y\"", []string{`lab.cue:2:9: images.a: needs exactly one of sha256 and sha512: the digest of what its url serves`}},
		{"digest", "images: a: {url: \"http://x/y\", sha256: \"12\"}", []string{`lab.cue:2:32: images.a.sha256: "12" is not a SHA-256 digest: 64 hex digits (rule)`}},
		{"target without provider", "targets: t: x: 1", []string{`lab.cue:2:10: targets.t.provider: is required: The hypervisor's plugin: "qemu", or the NAME of any labctl-provider-NAME that labctl can find`}},
		{"closed by the user", "#W: files: \"/a\": text: \"x\"\nservers: web: #W & {user: string}", []string{
			`lab.cue:3:21: servers.web.user: a definition (#Name) of the lab closes this, and has no such field`}},
		{"closed by the user, and labctl adds", "#W: files: \"/a\": text: string\nservers: web: #W", []string{
			`lab.cue:2:12: servers.web.files."/a": is closed, so what labctl adds has no place: a definition (#Name) closes all that is in it; use a plain field (Name) for parts of machines`,
			`lab.cue:3:10: servers.web: is closed, so what labctl adds has no place: a definition (#Name) closes all that is in it; use a plain field (Name) for parts of machines`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+tt.text)})
			if diff := cmp.Diff(tt.want, lines(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// lines are the lines of err without the numbers in "rule at schema.cue:12:5", which move with every comment.
func lines(err error) []string {
	if err == nil {
		return nil
	}
	out := strings.Split(err.Error(), "\n")
	for i, l := range out {
		if before, after, ok := strings.Cut(l, " (rule at schema.cue:"); ok && strings.Count(after, ":") == 1 {
			out[i] = before + " (rule)"
		}
	}
	return out
}

func TestLoadOptions(t *testing.T) {
	const tagged = "_p: *\"dev\" | \"prod\" @tag(plane)\nname: \"x-\\(_p)\"\n"
	tests := []struct {
		name  string
		files []string
		args  []string
		tags  []string
		want  string // the lab's name, or the error
	}{
		{"a file", []string{"lab.cue", head}, []string{"lab.cue"}, nil, "x"},
		{"a file beside others", []string{"a.cue", head, "b.cue", "name: \"b\"\n"}, []string{"a.cue"}, nil, "x"},
		{"files of a package", []string{"a.cue", "package p\n" + head, "b.cue", "package p\nservers: b: #Machine & {cpus: 2}\n"}, []string{"a.cue", "b.cue"}, nil, "x"},
		{"a folder", []string{"l/a.cue", "package p\n" + head, "l/b.cue", "package p\nservers: b: {}\n"}, []string{"l"}, nil, "x"},
		{"this folder", []string{"a.cue", "package p\n" + head}, []string{"."}, nil, "x"},
		{"an import", []string{"l/cue.mod/module.cue", "module: \"m.example\"\nlanguage: version: \"v0.17.0\"\n", "l/s/s.cue", "package s\nName: \"x\"\n",
			"l/a.cue", "import \"m.example/s\"\nname: s.Name\n"}, []string{"l/a.cue"}, nil, "x"},
		{"a definition from labctl in the package", []string{"a.cue", "package p\n" + head, "schema.cue", string(schema.DefinitionIn("p"))}, []string{"."}, nil, "x"},
		{"a definition from labctl beside", []string{"a.cue", head, "schema.cue", string(schema.Definition())}, []string{"a.cue", "schema.cue"}, nil, "x"},
		{"a tag", []string{"a.cue", tagged}, []string{"a.cue"}, []string{"plane=prod"}, "x-prod"},
		{"a tag's default", []string{"a.cue", tagged}, []string{"a.cue"}, nil, "x-dev"},
		{"a tag for the target", []string{"a.cue", "name: \"x\\(_t)\"\n_t: string @tag(target,var=target)\n"}, []string{"a.cue"}, nil, "x-cloud"},
		{"a tag for the target, given", []string{"a.cue", "name: \"x\\(_t)\"\n_t: string @tag(target,var=target)\n"}, []string{"a.cue"}, []string{"target=-y"}, "x-y"},
		{"a tag's wrong value", []string{"a.cue", tagged}, []string{"a.cue"}, []string{"plane=x"}, `a.cue:1:6: _p: "x" is not "dev" or "prod"`},
		{"an unknown tag", []string{"a.cue", tagged}, []string{"a.cue"}, []string{"plan=prod"}, "-D plan=prod: no field of the lab has @tag(plan)"},
		{"a tag that is needed", []string{"a.cue", "_p: string @tag(plane)\nname: \"x-\\(_p)\"\n"}, []string{"a.cue"}, nil,
			"a.cue:1:5: name: invalid interpolation: non-concrete value string (type string); not given: -D plane=... (also a.cue:2:7)"},
		{"no name", []string{"a.cue", ""}, []string{"a.cue"}, nil,
			"a.cue:1:1: name: is required: The lab's name: the owner's name on everything labctl makes for it, so it is unique on a host"},
		{"no argument", nil, nil, nil, "no lab: name a file such as lab.cue, or a folder"},
		{"no file", nil, []string{"a.cue"}, nil, "cannot read a.cue: no such file or directory"},
		{"no CUE", []string{"a.yaml", ""}, []string{"a.yaml"}, nil, "cannot read a.yaml: a lab is a .cue file"},
		{"an empty folder", []string{"l/x", ""}, []string{"l"}, nil, "cannot read l: there is no .cue file in this folder"},
		{"a folder of single files", []string{"l/a.cue", head, "l/b.cue", head}, []string{"l"}, nil, "cannot read l: a folder is a lab if its .cue files have one package clause; else name a file"},
		{"an import that is not there", []string{"a.cue", "import \"m.example/s\"\nname: s.Name\n"}, []string{"a.cue"}, nil,
			"a.cue:1:8: import failed: imports are unavailable because there is no cue.mod/module.cue file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := schema.Load(schema.Options{Args: tt.args, Dir: folder(t, tt.files...), Tags: tt.tags, Target: "-cloud"})
			got := ""
			if err != nil {
				got = err.Error()
			} else {
				got = s.Lab.Name
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPos(t *testing.T) {
	dir := folder(t, "lab.cue", `name: "x"
_small: memory: "512MiB"
servers: web: _small & {
	nics: office: {
		ip: "10.20.0.10"
	}
	files: "/etc/a.b": text: "x"
	packages: ["a", "b"]
}
networks: office: cidr: "10.20.0.0/24"
`)
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"servers.web.nics.office.ip":         "lab.cue:5:3",
		"servers.web.nics.office.mac":        "lab.cue:4:8", // left to a default: the parent
		"servers.web.memory":                 "lab.cue:2:9", // said elsewhere
		`servers.web.files."/etc/a.b".text`:  "lab.cue:7:21",
		`servers.web.files."/etc/a.b".owner`: "lab.cue:7:9",
		"servers.web.packages.1":             "lab.cue:8:18",
		"servers.web.packages[1]":            "lab.cue:8:18",
		"name":                               "lab.cue:1:1",
		"targets.local.provider":             "",
	} {
		got := ""
		if ps := s.Pos(path); len(ps) > 0 {
			got = ps[0].String()
		}
		if got != want {
			t.Errorf("Pos(%s) = %s, want %s", path, got, want)
		}
	}
}

func TestErrorsAreSortedAndSingle(t *testing.T) {
	_, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+"servers: b: cpus: 0\nservers: a: cpus: 0\n")})
	var es schema.Errors
	if !errors.As(err, &es) || len(es) != 2 || es[0].Path != "servers.b.cpus" || len(es[0].Rules) != 1 || es[0].Rules[0].File != "schema.cue" {
		t.Errorf("Load: %v, want two errors, b's before a's as in the file, each with its rule's place", err)
	}
	rule := strings.Split(string(schema.Definition()), "\n")[es[0].Rules[0].Line-1]
	if !strings.HasPrefix(rule[es[0].Rules[0].Column-1:], "*1 | int") {
		t.Errorf("the rule's place in Definition() is %q, want the value of cpus", rule)
	}
}
