package memory_test

import (
	"fmt"
	"testing"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/memory"
	"github.com/labctl-dev/labctl/provider/providertest"
)

// BenchmarkObserve observes a lab of 1,000 machines through the wire and here.
func BenchmarkObserve(b *testing.B) {
	l := providertest.Lab()
	m := l.Machines[1]
	l.Machines = nil
	for i := range 1000 {
		m.Name = fmt.Sprintf("m%d", i)
		l.Machines = append(l.Machines, m)
	}
	home := b.TempDir()
	here, err := memory.Plugin().New(provider.Options{Home: home, Target: "test"})
	if err != nil {
		b.Fatal(err)
	}
	rs, err := here.Expand(l, map[string]lab.Seed{})
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range rs {
		if err := here.Create(b.Context(), r, provider.Silent); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("here", func(b *testing.B) {
		for b.Loop() {
			if found, err := here.Observe(b.Context(), l); err != nil || len(found) != len(rs) {
				b.Fatal(len(found), err)
			}
		}
	})
	there, err := launch(b).New(provider.Options{Home: home, Target: "test"})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("plugin", func(b *testing.B) {
		for b.Loop() {
			if found, err := there.Observe(b.Context(), l); err != nil || len(found) != len(rs) {
				b.Fatal(len(found), err)
			}
		}
	})
}
