package schema_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/labctl-dev/labctl/schema"
)

// BenchmarkRoles is reading a lab all of whose machines have roles, one of which gives every machine something: linear.
func BenchmarkRoles(b *testing.B) {
	for _, n := range []int{50, 200, 400} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := folder(b, "lab.cue", labOf(n)+equipped(n))
			before := spent()
			for b.Loop() {
				if _, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: dir}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((spent()-before)/float64(b.N), "cpu-s/op") // a busy machine's clock says little
		})
	}
}

// spent are the seconds of processor time that this process has had.
func spent() float64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// equipped gives each of n machines a role of the lab's own, and two of them one of labctl's that all others follow.
func equipped(n int) string {
	var b strings.Builder
	b.WriteString(`
#Roles: page: {
	lab: _, machine: _
	config: {title: *"hello" | string, port: *80 | int}
	ports: page: "tcp/\(config.port)"
	files: "/srv/page": text: "\(config.title) from \(machine.fqdn), one of \(len(lab.machines))\n"
	files: "/srv/clients": text: "\(len(machine.clients.page))\n"
	units: "page.service": {}
	checks: answers: http: url: "http://\(machine.fqdn):\(config.port)/"
}
policy: [{from: "any", to: "any", allow: "page"}]
servers: m0: roles: ntp: {}
servers: m1: roles: ntp: {}
`)
	for i := range n {
		fmt.Fprintf(&b, "servers: m%d: roles: page: title: \"m%d\"\n", i, i)
	}
	return b.String()
}
