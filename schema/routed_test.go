package schema_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/internal/goldentest"
	"github.com/labctl-dev/labctl/schema"
)

// Everything that a routed lab may say, as the lab that comes of it.
func TestRouted(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"testdata/routed.cue"}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "routed.json", s.Lab)
}

// golden compares v with a file of testdata, as JSON; with -update it writes the file.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	got, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	goldentest.File(t, filepath.Join("testdata", name), string(got))
}

// One mistake is one error at its place, whichever form a rule has and whatever else could have been written there.
func TestRoutedSaysWhatIsWrong(t *testing.T) {
	tests := []struct{ text, want string }{
		{`policy: 3`, `lab.cue:2:1: policy: 3 is not a list of rules, or a struct of rules by name (rule)`},
		{`policy: ["a"]`, `lab.cue:2:10: policy.0: "a" is not a struct { ... } (rule)`},
		{`policy: x: "a"`, `lab.cue:2:9: policy.x: "a" is not a struct { ... } (rule)`},
		{`policy: [{from: "a", to: "b", allow: ["tcp/1", 3]}]`, `lab.cue:2:48: policy.0.allow.1: 3 is not a string (rule)`},
		{`policy: [{from: "a", to: "b", allow: 22}]`, `lab.cue:2:31: policy.0.allow: 22 is not a service such as "tcp/22", or a list of services (rule)`},
		{`policy: [{from: "a", to: "b", allow: "tcp", lgo: true}]`, `lab.cue:2:45: policy.0.lgo: unknown field, did you mean "log"?`},
		{`policy: x: {from: "a", to: "b", alow: "tcp"}`, `lab.cue:2:33: policy.x.alow: unknown field, did you mean "allow"?`},
		{`policy: x: {from: "a", to: "b", allow: "tcp", log: 1}`, `lab.cue:2:47: policy.x.log: 1 is not true or false (rule)`},
		{`policy: x: {from: 3, to: "b", allow: "tcp"}`, `lab.cue:2:13: policy.x.from: 3 is not a name or a list of names (rule)`},
		{"policy: [\n\t{from: \"a\", to: \"b\", allow: \"tcp\"},\n\t{from: \"a\", to: \"b\"},\n]", `lab.cue:4:2: policy.1.allow: is required: What may be opened`},
		{`policy: [{from: "a", to: "b", allow: ["tcp", "tcp/0"]}]`, `lab.cue:2:46: policy.0.allow.1: "tcp/0": "0" is no port from 1 to 65535 and no range of them`},
		{`policy: x: {from: "a", to: "b", allow: "ssh"}`, `lab.cue:2:33: policy.x.allow: "ssh" is no service such as "tcp/22", "udp/8000-8010", "icmp" or "any"`},
		{"services: web: \"tcp/80\"\npolicy: x: {from: \"a\", to: \"b\", allow: \"wbe\"}", `lab.cue:3:33: policy.x.allow: "wbe" is no service such as "tcp/22", "udp/8000-8010", "icmp" or "any", did you mean "web"?`},
		{`policy: "say \"hi\".": {from: 3, to: "b", allow: "tcp"}`, `lab.cue:2:25: policy."say \"hi\".".from: 3 is not a name or a list of names (rule)`},
		{`policy: "say \"hi\".": {from: "a", to: "b", allow: "tc"}`, `lab.cue:2:45: policy."say \"hi\".".allow: "tc" is no service such as "tcp/22", "udp/8000-8010", "icmp" or "any"`},
		{`policy: [{from: string, to: "b", allow: "tcp"}]`, `lab.cue:2:17: policy.0.from: has no value yet, only string`},
		{`policy: [#Rule & {from: "a", to: "b", alow: "tcp"}]`, `lab.cue:2:39: policy.0.alow: unknown field, did you mean "allow"?`},
		{"policy: [for p in _p {p & {log: true}}]\n_p: [{from: \"a\", to: \"b\", alow: \"tcp\"}]", `lab.cue:3:27: policy.0.alow: unknown field, did you mean "allow"?`},
		{"policy: {for p in [\"a\"] {\n\t\"\\(p)\": {from: p, to: \"b\", allow: 3}\n}}", `lab.cue:3:29: policy.a.allow: 3 is not a service such as "tcp/22", or a list of services (rule)`},
		{"policy: [{from: \"a\", to: \"b\", allow: \"tcp\"}]\npolicy: x: log: true", `lab.cue:2:9: policy: conflicting values [{from:"a",to:"b",allow:"tcp"}] and {x:{log:true}} (mismatched types list and struct) (also lab.cue:3:9)`},

		{`services: tcp: "tcp/80"`, `lab.cue:2:11: services.tcp: "tcp" means something already: choose another name`},
		{`services: a: ["tcp/1", 3]`, `lab.cue:2:24: services.a.1: 3 is not a string (rule)`},
		{`services: {a: "b", b: "tcp/1"}`, `lab.cue:2:12: services.a: "b" is no service such as "tcp/22", "udp/8000-8010", "icmp" or "any"`},

		{`expect: [{from: "a", on: "b"}]`, `lab.cue:2:10: expect.0: needs exactly one of never and reaches`},
		{`expect: x: {from: "a", never: "tcp", reaches: "tcp", on: "b"}`, `lab.cue:2:9: expect.x: needs exactly one of never and reaches`},
		{`expect: x: {from: "a", nevre: "tcp", on: "b"}`, `lab.cue:2:24: expect.x.nevre: unknown field, did you mean "never"?`},
		{`expect: x: {from: "a", never: "tcp/http", on: "b"}`, `lab.cue:2:24: expect.x.never: "tcp/http": "http" is no port from 1 to 65535 and no range of them`},
		{`implied: admin: ["10.0.0/8"]`, `lab.cue:2:18: implied.admin.0: "10.0.0/8" is not a network such as "10.20.0.0/24" (rule)`},
		{`implied: admin: "10.0.0.0/8"`, `lab.cue:2:10: implied.admin: "10.0.0.0/8" is not a list (rule)`},

		{`routers: r: masquerade: "wan"`, `lab.cue:2:13: routers.r.masquerade: "wan" is not true, false or a list of networks (rule)`},
		{`routers: r: masquerade: ["wan", 3]`, `lab.cue:2:33: routers.r.masquerade.1: 3 is not a string (rule)`},
		{`routers: r: cpus: 0`, `lab.cue:2:13: routers.r.cpus: 0 is not a number of processors from 1 to 64 (rule)`},
		{`routers: r: disk: "99999999999TiB"`, `lab.cue:2:13: routers.r.disk: "99999999999TiB" is no size such as "512MiB" or "10GiB"`},
		{`routers: r: publish: "tcp/8": 3`, `lab.cue:2:22: routers.r.publish."tcp/8": 3 is not a machine and its port such as "web:80", or a struct with to, network and log (rule)`},
		{`routers: r: publish: "tcp/8": {to: 3}`, `lab.cue:2:32: routers.r.publish."tcp/8".to: 3 is not a string (rule)`},
		{`routers: r: publish: "tcp/8": {to: "x:1", lgo: true}`, `lab.cue:2:43: routers.r.publish."tcp/8".lgo: unknown field, did you mean "log"?`},
		{`routers: r: publish: "tcp/8": {to: "x:0"}`, `lab.cue:2:32: routers.r.publish."tcp/8".to: "x:0" is not a machine and its port such as "web:80"`},
		{`routers: r: publish: "tcp/1-9": "x:1"`, `lab.cue:2:22: routers.r.publish."tcp/1-9": "tcp/1-9" is not one port such as "tcp/8080" or "udp/53"`},

		{`networks: a: cidr6: "10.0.0.0/8"`, `lab.cue:2:14: networks.a.cidr6: "10.0.0.0/8" is not an IPv6 network such as "fd00:10::/64"`},
		{`networks: a: cidr6: "aut"`, `lab.cue:2:14: networks.a.cidr6: "aut" is not an IPv6 network such as "fd00:10::/64", or "auto" (rule)`},
		{`networks: a: {cidr: "10.0.0.0/24", assign: "dchp"}`, `lab.cue:2:36: networks.a.assign: "dchp" is not "static", "dhcp" or "slaac" (rule)`},
		{`servers: a: nics: n: ip6: "fd00::x"`, `lab.cue:2:22: servers.a.nics.n.ip6: "fd00::x" is not an IP address such as "10.20.0.10" (rule)`},

		{`checks: c: {from: "a"}`, `lab.cue:2:9: checks.c: needs exactly one of tcp, http, dns and command`},
		{`checks: c: {from: "a", tcp: {to: "b", port: 22}, command: run: "true"}`, `lab.cue:2:9: checks.c: needs exactly one of tcp, http, dns and command`},
		{`checks: c: {from: "a", tcp: {to: "b", port: 0}}`, `lab.cue:2:39: checks.c.tcp.port: 0 is not a port from 1 to 65535 (rule)`},
		{`checks: c: {from: "a", tcp: {to: "b", prot: 22}}`, `lab.cue:2:39: checks.c.tcp.prot: unknown field, did you mean "port"?`},
		{`checks: c: {from: "a", within: "0s", command: run: "true"}`, `lab.cue:2:24: checks.c.within: "0s" is not a duration above zero such as "90s" or "20m"`},
		{`pools: p: size: "3"`, `lab.cue:2:11: pools.p.size: "3" is not a size such as "512MiB" or "10GiB" (rule)`},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			_, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+tt.text)})
			if diff := cmp.Diff(tt.want, strings.Join(lines(err), "\n")); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// What is found in a rule is said where the user wrote that rule.
func TestPlaceOfRules(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab/lab.cue"}, Dir: folder(t,
		"cue.mod/module.cue", "module: \"x.example\"\nlanguage: version: \"v0.9.0\"\n",
		"rules/rules.cue", `package rules

List: [
	{from: "any", to: "any", allow: "tcp/1"},
	{from: "any", to: "any", allow: "tcp/2"},
]
Named: expect: {
	"no mail": {
		from: "any"
		never: "tcp/25"
		on: "world"
	}
	for p in [110, 143] {
		"no tcp/\(p)": {from: "any", never: "tcp/\(p)", on: "world"}
	}
}
`,
		"lab/lab.cue", `package x

import (
	"list"
	"x.example/rules"
)

rules.Named

name: "x"
policy: list.Concat([rules.List, [for p in [3, 4] {
	from: "any"
	to: "any"
	allow: "tcp/\(p)"
}], [
	{from: "any", to: "any", allow: "tcp/5"},
]])
expect: "no mail": on: string
expect: own: {from: "any", never: "tcp/7", on: "world"}
`)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range s.Lab.Policy {
		got[r.Path] = fmt.Sprint(s.Pos(r.Path), s.Pos(r.Path+".allow"))
	}
	for _, e := range s.Lab.Expect {
		got[e.Path] = fmt.Sprint(s.Pos(e.Path), s.Pos(e.Path+".on"))
	}
	want := map[string]string{
		"policy.0":            "[rules/rules.cue:4:3] [rules/rules.cue:4:27]",
		"policy.1":            "[rules/rules.cue:5:3] [rules/rules.cue:5:27]",
		"policy.2":            "[lab/lab.cue:12:2] [lab/lab.cue:14:2]",
		"policy.3":            "[lab/lab.cue:12:2] [lab/lab.cue:14:2]",
		"policy.4":            "[lab/lab.cue:16:3] [lab/lab.cue:16:27]",
		`expect."no mail"`:    "[rules/rules.cue:8:13 lab/lab.cue:18:9 rules/rules.cue:8:2] [rules/rules.cue:11:7 lab/lab.cue:18:20 rules/rules.cue:11:3]",
		`expect."no tcp/110"`: "[rules/rules.cue:14:3] [rules/rules.cue:14:51]",
		`expect."no tcp/143"`: "[rules/rules.cue:14:3] [rules/rules.cue:14:51]",
		"expect.own":          "[lab/lab.cue:19:9] [lab/lab.cue:19:44]",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}
