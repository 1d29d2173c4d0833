package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/check"
	"github.com/labctl-dev/labctl/schema"
)

// BenchmarkVet is `labctl vet` for labs of growing size, CUE included: linear.
func BenchmarkVet(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			dir := folder(b, "lab.cue", labOf(n))
			for b.Loop() {
				s, err := schema.Load(schema.Options{Args: []string{"lab.cue"}, Dir: dir})
				if err != nil {
					b.Fatal(err)
				}
				if f := check.Vet(s.Lab); len(f) > 0 {
					b.Fatal(f)
				}
			}
		})
	}
}

// labOf is a lab of n machines on one network for twenty and an uplink, each with a file, a package and a second disk.
func labOf(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: \"big\"\nnetworks: lan: uplink: true\n")
	for i := range (n + 19) / 20 {
		fmt.Fprintf(&b, "networks: net%d: cidr: \"10.%d.%d.0/24\"\n", i, i/256, i%256)
	}
	for i := range n {
		fmt.Fprintf(&b, "servers: m%d: {\n\tnics: {lan: {}, net%d: {}}\n\tmemory: \"512MiB\"\n\tdisks: data: size: \"1GiB\"\n\tpackages: [\"nginx\"]\n", i, i/20)
		fmt.Fprintf(&b, "\tfiles: \"/etc/motd\": {text: \"m%d\\n\", restart: [\"nginx.service\"]}\n\tunits: \"nginx.service\": {}\n}\n", i)
	}
	return b.String()
}
