// Package libvirtbench measures labctl on a libvirt host beside the raw calls that make the same things, and beside
// Terraform: make bench-libvirt. All of it is a benchmark on one libvirtd that is made for it.
//
// It must not know how the provider does what it does.
package libvirtbench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/plugins/libvirt"
	"github.com/labctl-dev/labctl/plugins/libvirt/libvirttest"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/rpc"
)

// TestMain lets this program be a plugin: the libvirt provider without the ability to dial. So labctl's apply ends when
// the machines run, for which nothing needs to boot in them.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == pluginName {
		p := libvirt.Plugin()
		p.Description.Abilities = []provider.Ability{}
		rpc.Serve(p)
		return
	}
	rpc.LetPile() // as in the programs: for the raw calls, too
	os.Exit(m.Run())
}

const pluginName = "labctl-provider-libvirt"

// The environment that make bench-libvirt sets.
const (
	envSizes  = "LABCTL_BENCH_LIBVIRT" // numbers of machines: "1 10 50"
	envRounds = "LABCTL_BENCH_ROUNDS"  // how often each takes its turn
	envPeer   = "LABCTL_BENCH_PEER"    // Terraform's provider, a program; empty leaves Terraform out
)

// looks is how often each looks at what has not changed, taking turns, in every round.
const looks = 5

// BenchmarkLibvirt prints what plan, apply, a plan without changes and destroy take: of labctl as its users run it, of
// its provider alone, of the raw calls, and of Terraform.
func BenchmarkLibvirt(b *testing.B) {
	sizes := numbers(b, envSizes, "")
	if len(sizes) == 0 {
		b.Skip("make bench-libvirt runs it")
	}
	rounds := numbers(b, envRounds, "3")[0]
	parallel := min(max(runtime.NumCPU(), 2), 10) // labctl's own default
	d := libvirttest.Start(b, libvirttest.Config{})
	image := bootSector(b)
	fmt.Println(head)
	for _, n := range sizes {
		o := newOurs(b, d, image, n, parallel)
		var t *terraform
		if peer := os.Getenv(envPeer); peer != "" {
			t = newTerraform(b, d, peer, image, n)
		}
		s := samples{}
		for range rounds {
			round(b, d, o, t, s, parallel)
		}
		if t != nil {
			t.base.destroy()
		}
		s.print(n)
	}
	b.ReportMetric(0, "ns/op")
}

// round lets each make and destroy everything once; what has not changed is looked at in turns.
func round(b *testing.B, d *libvirttest.Daemon, o *ours, t *terraform, s samples, parallel int) {
	s.time("plan", "labctl", o.plan)
	s.time("apply", "labctl", o.apply)
	f := newFloor(b, d.Socket, parallel, d.Dir)
	for range looks {
		s.time("no change", "raw", f.look)
		s.time("no change", "provider", o.observe)
		s.time("no change", "labctl", o.unchanged)
	}
	f.learn()
	s.time("destroy", "labctl", o.destroy)
	s.time("plan", "raw", f.look)
	s.time("apply", "raw", f.apply)
	o.unchanged() // the same things, to the last attribute
	s.time("destroy", "raw", f.destroy)
	if t == nil {
		return
	}
	s.time("plan", "terraform", t.plan)
	s.time("apply", "terraform", t.apply)
	s.time("no change", "terraform", t.unchanged)
	s.time("destroy", "terraform", t.destroy)
}

// numbers are those of an environment variable, or of a text if it is not set.
func numbers(b *testing.B, env, otherwise string) []int {
	text := os.Getenv(env)
	if text == "" {
		text = otherwise
	}
	var ns []int
	for _, w := range strings.Fields(text) {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			b.Fatalf("%s is %q: numbers of 1 or more", env, text)
		}
		ns = append(ns, n)
	}
	return ns
}

// samples are durations by what was done and who did it.
type samples map[string]map[string][]time.Duration

func (s samples) time(what, who string, f func()) {
	start := time.Now()
	f()
	if s[what] == nil {
		s[what] = map[string][]time.Duration{}
	}
	s[what][who] = append(s[what][who], time.Since(start))
}
