package nspawn

import (
	"fmt"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
	"github.com/labctl-dev/labctl/provider/providertest"
	"github.com/labctl-dev/labctl/provider/providertest/tiny"
)

// TestJudge has the contract's judge look at real containers that do nothing.
func TestJudge(t *testing.T) {
	need(t)
	l, images := judged()
	disk := system(t)
	providertest.Test(t, providertest.Options{
		Plugin: Plugin(), Lab: l, Slow: true, Deadline: 2 * time.Minute,
		Options: func(t *testing.T) provider.Options {
			o := provider.Options{Home: t.TempDir(), Target: "test", Values: map[string]any{"stop": "5s"}}
			for _, i := range images {
				tiny.Stock(t, o.Home, i, disk, nil)
			}
			return o
		},
		Edits: []providertest.Edit{
			{Name: "another domain", Change: func(l *lab.Lab) { l.Domain = "other.lab" }},
		},
		Fixed: map[string]string{
			"image.id": "the store has every image that the lab names, or it is absent", "image.source": "as image.id",
			"network.name": "is the resource's name", "network.mac": "is made of the names of lab and network",
			"network.host_access": "an option of the target", "network.forward": "an option of the target",
		},
		BootID: boot,
	})
}

// boot is how often a machine has booted, and its current boot.
func boot(t *testing.T, p provider.Provider, l lab.Lab, machine string) string {
	t.Helper()
	all, err := p.Observe(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if o.Addr != addr(kindMachine, machine) {
			continue
		}
		line := regexp.MustCompile(`BOOT (\S+)`)
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			b, _ := os.ReadFile(o.Outputs["console"])
			if found := line.FindAllSubmatch(b, -1); found != nil {
				return fmt.Sprintf("%d %s", len(found), found[len(found)-1][1])
			}
		}
		b, _ := os.ReadFile(o.Outputs["console"])
		t.Fatalf("machine %s does not boot; its console: %.1000q", machine, b)
	}
	t.Fatalf("machine %s is not observed", machine)
	return ""
}
