package main_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
)

// cloud is the project of a script, once it has one.
type cloud struct{ server *gcetest.Server }

// cmdCloud is a project on a compute API of the test's own, and somebody else who uses it:
//
//	cloud start [nolists]       starts it; CLOUD is its URL
//	cloud do VERB PATH [JSON]   somebody else's request: "POST global/firewalls {...}"
//	cloud pass TIME             lets that pass by the cloud's clock
//	cloud names FILE            writes down what there is
//	cloud zone DOMAIN           sets ZONE to what the project calls the zone of that domain
func cmdCloud(ts *testscript.TestScript, neg bool, args []string) {
	c := ts.Value("cloud").(*cloud)
	switch {
	case neg || len(args) == 0:
	case args[0] == "start" && c.server == nil:
		o := gcetest.Options{}
		if slices.Contains(args, "nolists") {
			o.NoLists = []string{"*"}
		}
		c.server = gcetest.New(o)
		ts.Defer(c.server.Close)
		ts.Setenv("CLOUD", c.server.URL)
		return
	case args[0] == "do" && len(args) >= 3:
		var body map[string]any
		if len(args) > 3 {
			ts.Check(json.Unmarshal([]byte(args[3]), &body))
		}
		_, err := c.server.Do(args[1], args[2], body)
		ts.Check(err)
		return
	case args[0] == "pass" && len(args) == 2:
		d, err := time.ParseDuration(args[1])
		ts.Check(err)
		c.server.Advance(d)
		return
	case args[0] == "zone" && len(args) == 2:
		all, err := c.server.Do("GET", "managedZones?dnsName="+args[1]+".", nil)
		ts.Check(err)
		for _, z := range all["managedZones"].([]any) {
			ts.Setenv("ZONE", z.(map[string]any)["name"].(string))
		}
		return
	case args[0] == "names" && len(args) == 2:
		ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(strings.Join(c.server.Names(), "\n")+"\n"), 0o644))
		return
	}
	ts.Fatalf("usage: cloud start [nolists] | do VERB PATH [JSON] | pass TIME | names FILE | zone DOMAIN")
}
