package schema_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/schema"
)

// What roles make of their machines and of the lab: golden.
func TestRoles(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"testdata/roles.cue"}})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "roles.json", s.Lab)
}

// A mistake in a role, or in what a machine says about one, is one error at its place in the lab's files.
func TestRolesSayWhatIsWrong(t *testing.T) {
	const head = "name: \"x\"\nnetworks: n: cidr: \"10.0.0.0/24\"\nservers: a: nics: n: {}\n"
	use := func(role string) string { return "#Roles: motd: {" + role + "}\nservers: a: roles: motd: {}" }
	for _, tt := range []struct{ text, want string }{
		{"#Roles: ntp: config: servers: [...string]\nservers: a: roles: ntp: sevrers: [\"a\"]", `lab.cue:5:25: servers.a.roles.ntp.sevrers: unknown field, did you mean "servers"?`},
		{"#Roles: ntp: config: servers: [...string]\nservers: a: roles: ntp: servers: 5", `lab.cue:5:25: servers.a.roles.ntp.servers: 5 is not a list (rule at lab.cue:4:22)`},
		{"#Roles: ntp: {}\nservers: a: roles: npt: {}", `lab.cue:5:20: servers.a.roles.npt: there is no such role, did you mean "ntp"?`},
		{"servers: a: roles: quake: {}", `lab.cue:4:20: servers.a.roles.quake: there is no such role`},
		{`servers: a: roles: ["ntp"]`, `lab.cue:4:13: servers.a.roles: a list is not a struct { ... } (rule)`},
		{use(`files: "/a": text: machine.name`), `lab.cue:4:35: #Roles.motd.files."/a".text: reference "machine" not found`},
		{use(`machine: _, files: "/a": text: machine.nam`), `lab.cue:4:55: servers.a.roles.motd: files."/a".text: undefined field: nam`},
		{use(`config: who: string`), `lab.cue:4:29: servers.a.roles.motd.who: has no value yet, only string`},
		{use(`config: who!: string`), `lab.cue:4:24: servers.a.roles.motd.who: is required`},
		{use(`files: "/a": txt: "b"`), `lab.cue:4:29: servers.a.roles.motd: files."/a".txt: field not allowed`},
		{use(`packages: 5`), `lab.cue:4:26: servers.a.roles.motd: packages: conflicting values 5 and [...string] (mismatched types int and list)`},
		{use(`files: "/a": {text: "b", secret: "c"}`), `lab.cue:5:20: servers.a.roles.motd.files."/a": needs exactly one of text, secret and from`},
		{use(`needs: ["mysql"]`), `lab.cue:5:20: servers.a.roles.motd: needs a machine with the role "mysql", and the lab has none`},
		{use(`ports: tcp: "tcp/1"`), `lab.cue:5:20: servers.a.roles.motd: its port "tcp" is named as something that means a service already`},
		{use(`ports: x: "tcp/x"`), `lab.cue:5:20: servers.a.roles.motd: its port "x": "tcp/x": "x" is no port from 1 to 65535 and no range of them`},
		{use(`memory: "4GiB"`), `lab.cue:5:13: servers.a.memory: 1GiB is too little: its roles need 4GiB`},
		{use(`disk: "9GiB"`), `lab.cue:5:13: servers.a.disk: 8GiB is too little: its roles need 9GiB`},
		{use(`arches: ["arm64"]`), `lab.cue:5:20: servers.a.roles.motd: does not run on amd64, only on arm64`},
		{use(`lab: _, files: "/a": text: lab.machines.b.name`), `lab.cue:4:56: servers.a.roles.motd: files."/a".text: undefined field: b`},
		{"#Roles: motd: {other: _, others: files: \"/a\": text: other.nam}\nservers: {a: roles: motd: {}, b: nics: n: {}}",
			`lab.cue:4:59: servers.a.roles.motd: others.files."/a".text: undefined field: nam`},
		{use(`checks: x: tcp: port: 22`), `lab.cue:5:20: servers.a.roles.motd: checks.x.tcp.to: field is required but not present`},
		{"#Roles: motd: config: {a: *1 | int, b?: string}\nservers: a: roles: motd: c: 5", `lab.cue:5:26: servers.a.roles.motd.c: unknown field`},
		{"#Roles: motd: config: {a: *1 | int, b?: string}\nservers: a: roles: motd: b: 5", `lab.cue:5:26: servers.a.roles.motd.b: 5 is not a string (rule at lab.cue:4:37)`},
		{"#Roles: motd: packages: [\"a\"]\nservers: a: roles: motd: b: 5", `lab.cue:5:26: servers.a.roles.motd.b: unknown field`},
		{"#Roles: one: files: \"/x\": text: \"1\"\n#Roles: two: files: \"/x\": text: \"2\"\nservers: a: roles: {one: {}, two: {}}",
			`lab.cue:6:30: servers.a.roles.two: writes /x, which the role one of the same machine writes, too`},
		{"#Roles: one: ports: p: \"tcp/1\"\n#Roles: two: ports: p: \"tcp/2\"\nservers: a: roles: {one: {}, two: {}}",
			`lab.cue:6:30: servers.a.roles.two: its port "p" is not that of the same name elsewhere in the lab; name one of them in services`},
		{"#Roles: one: needs: [\"two\"]\n#Roles: two: needs: [\"one\"]\nservers: a: roles: {one: {}, two: {}}",
			"lab.cue:6:21: servers.a.roles.one: needs itself: one needs two needs one\nlab.cue:6:30: servers.a.roles.two: needs itself: two needs one needs two"},
	} {
		_, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", head+tt.text)})
		if diff := cmp.Diff(tt.want, strings.Join(lines(err), "\n")); diff != "" {
			t.Errorf("%s\n(-want +got):\n%s", tt.text, diff)
		}
	}
}

// A role's ports are names for services; the lab's services of the same name win. A machine's defaults win over the role's.
func TestOwnRoles(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", `
name: "x"
networks: n: cidr: "10.0.0.0/24"
#Roles: ntp: {summary: "mine", config: x: *5 | int, ports: time: "udp/\(config.x)", ports: more: "tcp/1"}
services: more: "tcp/2"
servers: [string]: roles: ntp: x: *6 | int
servers: {a: nics: n: {}, b: {nics: n: {}}}
policy: one: {from: "a", to: "b", allow: ["time", "more"]}
`)})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range s.Lab.Machines {
		if len(m.Roles) != 1 || m.Roles[0].Summary != "mine" {
			t.Errorf("%s: %+v", m.Name, m.Roles)
		}
	}
	if diff := cmp.Diff("[udp/6 tcp/2]", strings.TrimSpace(strings.Join([]string{"[" + s.Lab.Policy[0].Allow[0].String(), s.Lab.Policy[0].Allow[1].String() + "]"}, " "))); diff != "" {
		t.Error(diff)
	}
}

// What a role gives is known once the lab is filled in: the files of others may come of a loop over the lab's machines,
// and an expression may make no sense as long as there are none.
func TestRolesMakeLoops(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", `
import "list"
name: "x"
networks: n: cidr: "10.0.0.0/24"
servers: {a: {nics: n: {}, roles: peers: {}}, b: {nics: n: {}, groups: ["told"]}, c: nics: n: {}}
#Roles: peers: {
	lab: _
	other: _
	let all = list.Sort([for name, _ in lab.machines {name}], list.Ascending)
	files: "/first": text: all[0]
	others: {
		files: {for name in lab.roles.peers {"/peer/\(name)": text: other.name}}
		for g in other.groups if g == "told" {packages: ["less"]}
	}
}
`)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range s.Lab.Machines {
		for _, f := range m.Guest.Files {
			got[m.Name+":"+f.Path] = f.Text
		}
		for _, p := range m.Guest.Packages {
			got[m.Name+" has"] = p
		}
	}
	if diff := cmp.Diff(map[string]string{"a:/first": "a", "b:/peer/a": "b", "b has": "less", "c:/peer/a": "c"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A role is told who the policy lets come, where they arrive, and of other machines the same. Where it listens is known
// before, so that may not follow from it.
func TestRolesKnowTheirClients(t *testing.T) {
	const text = `
import "strings"
name: "x"
networks: {up: uplink: true, office: cidr: "10.1.0.0/24", inner: cidr: "10.2.0.0/24"}
routers: edge: {nics: {up: {}, office: {}, inner: ip: "10.2.0.1"}, masquerade: ["inner"]}
servers: {
	db: {nics: inner: ip: "10.2.0.5", roles: db: {}}
	app: {nics: inner: ip: "10.2.0.9", roles: clock: {}}
	pc: nics: office: {}
}
policy: [{from: ["app", "office"], to: "db", allow: "sql"}]
#Roles: db: {
	lab: _, machine: _
	config: {port: *5432 | int}
	ports: {sql: "tcp/\(config.port)", peers: "tcp/1-2"}
	files: "/clients": text: strings.Join(machine.clients.sql, " ") + " and \(len(machine.clients.peers))"
	files: "/listen": text: strings.Join(machine.listen.sql, " ") + " and \(len(machine.listen.peers))"
	others: files: "/db": text: strings.Join([for m in lab.roles.db {lab.machines[m].listen.sql[0]}], " ")
}
#Roles: clock: {
	machine: _
	implied: ["ntp"]
	ports: time: "udp/123"
	files: "/allow": text: strings.Join(machine.clients.time, " ")
}
`
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", text)})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, m := range s.Lab.Machines {
		for _, f := range m.Guest.Files {
			got[m.Name+f.Path] = f.Text
		}
	}
	want := map[string]string{"app/allow": "10.2.0.0/24", "app/db": "10.2.0.5", "db/clients": "10.2.0.1/32 10.2.0.9/32 and 0", "db/listen": "10.2.0.5 and 0",
		"edge/db": "10.2.0.5", "pc/db": "10.2.0.5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, err = schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue",
		strings.Replace(text, `peers: "tcp/1-2"`, `peers: "tcp/\(len(machine.clients.sql))"`, 1))})
	if diff := cmp.Diff([]string{"lab.cue:15:44: servers.db.roles.db: ports.peers: invalid interpolation (also lab.cue:15:71)"}, lines(err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A role waits for those that it needs on other machines, by what they say or by their ports, and for what it says itself.
// In its machine it comes after what waits for nobody, and the machine's own last; the one that others wait for first.
func TestRolesWait(t *testing.T) {
	const text = `
name: "x"
networks: n: cidr: "10.0.0.0/24"
servers: {
	a: {nics: n: {}, roles: {app: {}, plain: {}, late: {}}, commands: own: run: "true"}
	b: {nics: n: {}, roles: {db: {}, cache: {}}}
}
#Roles: db: {ports: {sql: "tcp/5432", stats: ["udp/1", "tcp/6000-6100", "tcp/99"]}, units: "db.service": {}, needs: ["late"]}
#Roles: cache: {machine: _, ports: c: "tcp/6", ready: pong: {command: run: "ping \(machine.name)", within: "1m"}}
#Roles: plain: units: "plain.service": {}
#Roles: late: {ports: l: "tcp/7", waits: c: {machine: "b", port: "c", within: "2m"}, commands: x: run: "true"}
#Roles: app: {needs: ["db", "cache"], units: "app.service": {}, commands: x: run: "true", waits: web: http: url: "http://b:80/"}
`
	s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", text)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range s.Lab.Machines {
		for _, w := range m.Guest.Waits {
			var what []string
			for _, c := range w.For {
				one := c.Name + " " + time.Duration(c.Within).String()
				if c.TCP != nil {
					one += fmt.Sprint(" ", c.TCP.Port)
				}
				what = append(what, one)
			}
			got = append(got, fmt.Sprintf("%s.%s: %s; then %s %s", m.Name, w.Role, strings.Join(what, ", "), w.Units, w.Commands))
		}
	}
	want := []string{
		"a.late: c on b 2m0s 6; then [] [late: x]",
		"a.app: db on b 15m0s 5432, db on b 15m0s 99, cache on b 1m0s, web 15m0s; then [app.service] [app: x]",
		"a.: ; then [] [own]",
		"b.db: late on a 15m0s 7; then [db.service] []",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, tt := range []struct{ from, to, want string }{
		{`machine: "b", port: "c"`, `machine: "q", port: "c"`, `lab.cue:5:47: servers.a.roles.late: its wait "c": there is no machine called "q"`},
		{`machine: "b", port: "c"`, `machine: "b", port: "sql"`, `lab.cue:6:27: servers.b.roles.db: waits for itself: db on b waits for late on a waits for db on b`},
		{`machine: "b", port: "c"`, `machine: "b", port: "udp/5"`, `lab.cue:5:47: servers.a.roles.late: its wait "c": "udp/5" is not one port of TCP`},
		{`machine: "b", port: "c"`, `machine: "b"`, `lab.cue:5:47: servers.a.roles.late: its wait "c" needs machine and port together, or one of tcp, http, dns and command`},
		{`machine: "b", port: "c"`, `tcp: {port: 5}`, `lab.cue:5:47: servers.a.roles.late: waits.c.tcp.to: field is required but not present`},
	} {
		_, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: folder(t, "lab.cue", strings.Replace(text, tt.from, tt.to, 1))})
		if diff := cmp.Diff(tt.want, strings.Join(lines(err), "\n")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.to, diff)
		}
	}
}
