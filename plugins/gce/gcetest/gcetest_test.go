package gcetest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/labctl-dev/labctl/plugins/gce/gcetest"
)

type m = map[string]any

// client talks to a server over its loopback port, as a plugin does.
type client struct {
	t *testing.T
	s *gcetest.Server
}

func start(t *testing.T, o gcetest.Options) client {
	t.Helper()
	s := gcetest.New(o)
	t.Cleanup(s.Close)
	return client{t, s}
}

// send sends one request; status is 0 when the connection was cut.
func (c client) send(verb, path string, body any) (status int, answer m) {
	c.t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			c.t.Fatal(err)
		}
	}
	r, err := http.NewRequest(verb, c.s.URL+"projects/"+c.s.Project()+"/"+path, bytes.NewReader(b))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		c.t.Fatalf("%s %s: %v in %s", verb, path, err, text)
	}
	return resp.StatusCode, answer
}

// say sends a request and says in a line what came of it, operations included: "ok", "409 alreadyExists: ...", or
// "in operation IP_IN_USE_BY_ANOTHER_RESOURCE: ...".
func (c client) say(verb, path string, body any) string {
	c.t.Helper()
	status, answer := c.send(verb, path, body)
	if e, ok := answer["error"].(m); ok && status != 200 {
		one := e["errors"].([]any)[0].(m)
		return fmt.Sprintf("%d %s: %s", status, one["reason"], one["message"])
	}
	if answer["kind"] != "compute#operation" {
		return fmt.Sprint(status)
	}
	done := c.wait(answer)
	if e, ok := done["error"].(m); ok {
		one := e["errors"].([]any)[0].(m)
		return fmt.Sprintf("in operation %s: %s", one["code"], one["message"])
	}
	return "ok"
}

func (c client) wait(op m) m {
	c.t.Helper()
	_, path, _ := strings.Cut(op["selfLink"].(string), "/projects/"+c.s.Project()+"/")
	status, done := c.send("POST", path+"/wait", nil)
	if status != 200 {
		c.t.Fatalf("wait: %d %v", status, done)
	}
	return done
}

// make must succeed.
func (c client) make(path string, body any) {
	c.t.Helper()
	if got := c.say("POST", path, body); got != "ok" {
		c.t.Fatalf("POST %s: %s", path, got)
	}
}

func (c client) get(path string) m {
	c.t.Helper()
	status, o := c.send("GET", path, nil)
	if status != 200 {
		c.t.Fatalf("GET %s: %d %v", path, status, o)
	}
	return o
}

const (
	region = "regions/europe-west1"
	zone   = "zones/europe-west1-b"
)

// lan makes a network of one subnet.
func (c client) lan(name, cidr string) {
	c.t.Helper()
	c.make("global/networks", m{"name": name, "autoCreateSubnetworks": false})
	c.make(region+"/subnetworks", m{"name": name, "network": "global/networks/" + name, "ipCidrRange": cidr})
}

func vm(name, cpus string, nics ...m) m {
	all := []any{}
	for _, n := range nics {
		all = append(all, n)
	}
	return m{"name": name, "machineType": zone + "/machineTypes/" + cpus, "networkInterfaces": all, "disks": []any{
		m{"boot": true, "autoDelete": true, "initializeParams": m{"sourceImage": "projects/debian-cloud/global/images/family/debian-12", "diskSizeGb": 12}}}}
}

func nic(subnet, ip string) m {
	return m{"subnetwork": region + "/subnetworks/" + subnet, "networkIP": ip}
}

func TestRefusals(t *testing.T) {
	c := start(t, gcetest.Options{})
	c.lan("lan", "10.0.0.0/24")
	c.lan("dmz", "10.0.1.0/24")
	c.make(zone+"/instances", vm("web", "e2-medium", nic("lan", "10.0.0.10")))
	c.make(region+"/addresses", m{"name": "ip"})
	c.make(zone+"/disks", m{"name": "data", "sizeGb": "10"})
	c.make("global/firewalls", m{"name": "ssh", "network": "global/networks/lan", "allowed": []any{m{"IPProtocol": "tcp", "ports": []any{"22"}}}})
	with := func(o m, more m) m {
		for k, v := range more {
			o[k] = v
		}
		return o
	}
	for _, x := range []struct {
		name, verb, path string
		body             any
		want             string
	}{
		{"taken name", "POST", "global/networks", m{"name": "lan", "autoCreateSubnetworks": false}, "409 alreadyExists: The resource 'projects/lab-project/global/networks/lan' already exists"},
		{"bad name", "POST", "global/networks", m{"name": "Lan", "autoCreateSubnetworks": false}, "400 invalid: Invalid value for field 'resource.name': 'Lan'. Must be a match of regex"},
		{"no name", "POST", "global/networks", m{"autoCreateSubnetworks": false}, "400 required: "},
		{"unknown field", "POST", "global/networks", m{"name": "x", "autoCreateSubnetwork": false}, "400 badRequest: Invalid JSON payload received. Unknown name \"autoCreateSubnetwork\""},
		{"wrong type", "POST", "global/networks", m{"name": "x", "autoCreateSubnetworks": "no"}, "400 badRequest: Invalid value at 'resource.autoCreateSubnetworks'"},
		{"unknown parameter", "GET", "global/networks?filters=x", nil, "400 badRequest: Invalid JSON payload received. Unknown name \"filters\""},
		{"absent", "GET", "global/networks/nope", nil, "404 notFound: The resource 'projects/lab-project/global/networks/nope' was not found"},
		{"unknown zone", "GET", "zones/mars-a/instances", nil, "400 invalid: "},
		{"host bits", "POST", region + "/subnetworks", m{"name": "x", "network": "global/networks/lan", "ipCidrRange": "10.9.0.1/24"}, "400 invalid: "},
		{"overlap", "POST", region + "/subnetworks", m{"name": "x", "network": "global/networks/lan", "ipCidrRange": "10.0.0.128/25"}, "400 invalid: Invalid value for field 'resource.ipCidrRange': '10.0.0.128/25'. Invalid IPCidrRange: 10.0.0.128/25 conflicts with existing subnetwork 'lan' in region 'europe-west1'."},
		{"same range elsewhere", "POST", region + "/subnetworks", m{"name": "x", "network": "global/networks/dmz", "ipCidrRange": "10.0.0.0/24"}, "ok"},
		{"narrower subnet", "POST", region + "/subnetworks/lan/expandIpCidrRange", m{"ipCidrRange": "10.0.0.0/25"}, "400 invalid: "},
		{"network in use", "DELETE", "global/networks/lan", nil, "in operation RESOURCE_IN_USE_BY_ANOTHER_RESOURCE: The network resource 'projects/lab-project/global/networks/lan' is already being used by 'projects/lab-project/global/firewalls/ssh'"},
		{"subnet in use", "DELETE", region + "/subnetworks/lan", nil, "400 resourceInUseByAnotherResource: The subnetwork resource 'projects/lab-project/regions/europe-west1/subnetworks/lan' is already being used by 'projects/lab-project/zones/europe-west1-b/instances/web'"},
		{"disk in use", "DELETE", zone + "/disks/web", nil, "400 resourceInUseByAnotherResource: The disk resource"},
		{"first address", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.0.1")), "400 invalid: Invalid value for field 'resource.networkInterfaces[0].networkIP': '10.0.0.1'."},
		{"last address but one", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.0.254")), "400 invalid: "},
		{"outside", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.7.7")), "400 invalid: Invalid value for field 'resource.networkInterfaces[0].networkIP': '10.0.7.7'. Requested internal IP is outside the subnetwork CIDR range."},
		{"address taken", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.0.10")), "in operation IP_IN_USE_BY_ANOTHER_RESOURCE: IP '10.0.0.10' is already being used by another resource."},
		{"one network twice", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.0.11"), nic("lan", "10.0.0.12")), "400 invalid: "},
		{"too many interfaces", "POST", zone + "/instances", vm("x", "e2-medium", nic("lan", "10.0.0.11"), nic("dmz", "10.0.1.11"), nic("x", "")), "400 invalid: Invalid value for field 'resource.networkInterfaces': '3'. Too many network interfaces."},
		{"label", "POST", zone + "/instances", with(vm("x", "e2-medium", nic("lan", "")), m{"labels": m{"Lab": "x"}}), "400 invalid: "},
		{"live migration", "POST", zone + "/instances", with(vm("x", "n1-standard-4", nic("lan", "")), m{"guestAccelerators": []any{m{"acceleratorType": zone + "/acceleratorTypes/nvidia-tesla-t4", "acceleratorCount": 1}}}), "400 badRequest: Instances with guest accelerators do not support live migration."},
		{"too long a life", "POST", zone + "/instances", with(vm("x", "e2-medium", nic("lan", "")), m{"scheduling": m{"maxRunDuration": m{"seconds": 10368001}}}), "400 invalid: "},
		{"disk below image", "POST", zone + "/instances", m{"name": "x", "machineType": zone + "/machineTypes/e2-small", "networkInterfaces": []any{nic("lan", "")}, "disks": []any{m{"boot": true, "initializeParams": m{"sourceImage": "projects/debian-cloud/global/images/family/debian-12", "diskSizeGb": "9"}}}}, "400 invalid: "},
		{"no such image", "POST", zone + "/disks", m{"name": "x", "sourceImage": "projects/debian-cloud/global/images/family/debian-9"}, "400 invalid: Invalid value for field 'resource.sourceImage': 'projects/debian-cloud/global/images/family/debian-9'. The referenced image resource cannot be found."},
		{"smaller disk", "POST", zone + "/disks/data/resize", m{"sizeGb": 10}, "400 invalid: "},
		{"stale labels", "POST", zone + "/instances/web/setLabels", m{"labels": m{"a": "b"}, "labelFingerprint": "AAAA"}, "412 conditionNotMet: Labels fingerprint either invalid or resource labels have changed"},
		{"stale metadata", "POST", zone + "/instances/web/setMetadata", m{"items": []any{}}, "412 conditionNotMet: Supplied fingerprint does not match current metadata fingerprint."},
		{"resize running", "POST", zone + "/instances/web/setMachineType", m{"machineType": zone + "/machineTypes/e2-small"}, "400 invalidUsage: Instance is starting or running."},
		{"route in a subnet", "POST", "global/routes", m{"name": "x", "network": "global/networks/lan", "destRange": "10.0.0.64/26", "nextHopIp": "10.0.0.10"}, "400 invalid: Invalid value for field 'resource.destRange': '10.0.0.64/26'. 10.0.0.64/26 hides the reserved address space for network (10.0.0.0/24)."},
		{"hop elsewhere", "POST", "global/routes", m{"name": "x", "network": "global/networks/dmz", "destRange": "10.7.0.0/16", "nextHopInstance": zone + "/instances/web"}, "400 invalid: "},
		{"two hops", "POST", "global/routes", m{"name": "x", "network": "global/networks/lan", "destRange": "10.7.0.0/16", "nextHopIp": "10.0.0.10", "nextHopGateway": "global/gateways/default-internet-gateway"}, "400 invalid: "},
		{"ports of icmp", "POST", "global/firewalls", m{"name": "x", "network": "global/networks/lan", "allowed": []any{m{"IPProtocol": "icmp", "ports": []any{"1"}}}}, "400 invalid: "},
		{"neither allow nor deny", "POST", "global/firewalls", m{"name": "x", "network": "global/networks/lan"}, "400 invalid: "},
		{"nat of nothing", "POST", region + "/routers", m{"name": "x", "network": "global/networks/lan", "nats": []any{m{"name": "nat", "natIpAllocateOption": "AUTO_ONLY", "sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS"}}}, "400 invalid: "},
		{"bad request id", "POST", "global/networks?requestId=7", m{"name": "x", "autoCreateSubnetworks": false}, "400 invalid: Invalid value for field 'requestId'"},
		{"changed name of a network's field", "PATCH", "global/firewalls/ssh", m{"direction": "EGRESS"}, "400 invalid: "},
	} {
		if got := c.say(x.verb, x.path, x.body); !strings.HasPrefix(got, x.want) {
			t.Errorf("%s: %s\nwant %s", x.name, got, x.want)
		}
	}
	want := []string{"global/firewalls/ssh", "global/networks/dmz", "global/networks/lan", region + "/addresses/ip", region + "/subnetworks/dmz", region + "/subnetworks/lan", region + "/subnetworks/x",
		zone + "/disks/data", zone + "/disks/web", zone + "/instances/web"}
	if d := cmp.Diff(want, c.s.Names()); d != "" {
		t.Errorf("refused requests left something (-want +got):\n%s", d)
	}
}

// TestReadBack holds that what is read differs from what was sent as it does on the real one.
func TestReadBack(t *testing.T) {
	c := start(t, gcetest.Options{})
	c.lan("lan", "10.0.0.0/24")
	c.make(zone+"/instances", vm("web", "e2-medium", nic("lan", "")))
	o := c.get(zone + "/instances/web")
	disk := o["disks"].([]any)[0].(m)
	n := o["networkInterfaces"].([]any)[0].(m)
	got := m{
		"machineType": o["machineType"], "status": o["status"], "zone": o["zone"], "canIpForward": o["canIpForward"], "labels": o["labels"], "restart": o["scheduling"].(m)["automaticRestart"],
		"disk": disk["source"], "params": disk["initializeParams"], "size": disk["diskSizeGb"], "network": n["network"], "ip": n["networkIP"], "nic": n["name"],
	}
	base := "https://www.googleapis.com/compute/v1/projects/lab-project/"
	want := m{
		"machineType": base + zone + "/machineTypes/e2-medium", "status": "RUNNING", "zone": base + zone, "canIpForward": false, "labels": nil, "restart": true,
		"disk": base + zone + "/disks/web", "params": nil, "size": "12", "network": base + "global/networks/lan", "ip": "10.0.0.2", "nic": "nic0",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	beta := start(t, gcetest.Options{Beta: true})
	beta.lan("lan", "10.0.0.0/24")
	if l := beta.get(region + "/subnetworks/lan")["network"]; l != "https://www.googleapis.com/compute/beta/projects/lab-project/global/networks/lan" {
		t.Errorf("beta link: %s", l)
	}
}

func TestOperations(t *testing.T) {
	c := start(t, gcetest.Options{Latency: 80 * time.Millisecond, WaitLimit: 5 * time.Millisecond})
	id := "?requestId=11111111-2222-3333-4444-555555555555"
	body := m{"name": "lan", "autoCreateSubnetworks": false}
	_, op := c.send("POST", "global/networks"+id, body)
	if op["status"] != "RUNNING" {
		t.Errorf("status %v", op["status"])
	}
	if got := c.say("GET", "global/networks/lan", nil); !strings.HasPrefix(got, "404") {
		t.Errorf("a network in the making is seen: %s", got)
	}
	if got := c.say("POST", region+"/subnetworks", m{"name": "lan", "network": "global/networks/lan", "ipCidrRange": "10.0.0.0/24"}); !strings.HasPrefix(got, "400 resourceNotReady") {
		t.Errorf("a subnet in a network in the making: %s", got)
	}
	if done := c.wait(op); done["status"] != "RUNNING" {
		t.Error("wait did not end at its limit")
	}
	for c.wait(op)["status"] != "DONE" {
	}
	_, again := c.send("POST", "global/networks"+id, body)
	if again["name"] != op["name"] || again["status"] != "DONE" {
		t.Errorf("the same request again: %v", again)
	}
	if got := c.say("POST", "global/networks"+id, m{"name": "other", "autoCreateSubnetworks": false}); !strings.HasPrefix(got, "400 invalid") {
		t.Errorf("another request with its id: %s", got)
	}
	if status, _ := c.send("DELETE", "global/networks/lan", nil); status != 200 {
		t.Fatal(status)
	}
	if got := c.say("DELETE", "global/networks/lan", nil); !strings.HasPrefix(got, "400 resourceNotReady: The resource 'projects/lab-project/global/networks/lan' is not ready") {
		t.Errorf("a second delete: %s", got)
	}
}

func TestLists(t *testing.T) {
	c := start(t, gcetest.Options{PageSize: 2, NoLists: []string{"routes"}})
	for _, name := range []string{"a", "b", "c"} {
		c.make(zone+"/disks", m{"name": name, "sizeGb": 10, "labels": m{"lab": "l" + name, "labctl": "x"}})
	}
	names := func(path string) string {
		var out []string
		for token := ""; ; {
			o := c.get(path + token)
			items, _ := o["items"].([]any)
			for _, i := range items {
				out = append(out, i.(m)["name"].(string))
			}
			next, ok := o["nextPageToken"].(string)
			if !ok {
				return strings.Join(out, " ")
			}
			token = map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "pageToken=" + next
		}
	}
	for _, x := range [][2]string{
		{"", "a b c"}, {"?filter=labels.lab%3Dlb", "b"}, {"?filter=labels.labctl:*", "a b c"}, {"?filter=name+eq+%5Bab%5D", "a b"}, {"?filter=name+ne+a", "b c"},
		{"?filter=(labels.lab%3Dlb)+(name%3Db)", "b"}, {"?filter=(labels.lab%3Dlb)+AND+(name%3Da)", ""}, {"?filter=labels.lab!%3Dlb", "a c"}, {"?filter=labels.none%3Dx", ""}, {"?maxResults=1", "a b c"},
	} {
		if got := names(zone + "/disks" + x[0]); got != x[1] {
			t.Errorf("%s: %q, want %q", x[0], got, x[1])
		}
	}
	if got := c.say("GET", zone+"/disks?filter=name+like+x", nil); !strings.HasPrefix(got, "400 invalid") {
		t.Errorf("a bad filter: %s", got)
	}
	if got := c.say("GET", "global/routes", nil); !strings.HasPrefix(got, "501") {
		t.Errorf("a list that there is not: %s", got)
	}
	all := c.get("aggregated/disks")["items"].(m)
	if n := len(all[zone].(m)["disks"].([]any)); n != 2 || all["zones/us-central1-a"].(m)["warning"] == nil {
		t.Errorf("aggregated: %v", all)
	}
}

func TestFaults(t *testing.T) {
	c := start(t, gcetest.Options{})
	lan := m{"name": "lan", "autoCreateSubnetworks": false}
	c.s.Inject(gcetest.Fault{Error: gcetest.RateLimited, Times: 2})
	c.s.Inject(gcetest.Fault{Method: "networks.insert", Error: gcetest.QuotaReached, Late: true})
	c.s.Inject(gcetest.Fault{Method: "networks.*", Cut: gcetest.Before})
	c.s.Inject(gcetest.Fault{Method: "*.insert", Name: "", Cut: gcetest.After})
	var got []string
	for range 6 {
		got = append(got, strings.SplitN(c.say("POST", "global/networks", lan), ":", 2)[0])
	}
	want := []string{"403 rateLimitExceeded", "403 rateLimitExceeded", "in operation QUOTA_EXCEEDED", "0", "0", "409 alreadyExists"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	var statuses []int
	for _, r := range c.s.Requests() {
		statuses = append(statuses, r.Status)
	}
	if d := cmp.Diff([]int{403, 403, 200, 0, 0, 409}, statuses); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestRunTime(t *testing.T) {
	c := start(t, gcetest.Options{})
	c.lan("lan", "10.0.0.0/24")
	for _, action := range []string{"STOP", "DELETE"} {
		o := vm(strings.ToLower(action), "e2-small", nic("lan", ""))
		o["scheduling"] = m{"maxRunDuration": m{"seconds": "28800"}, "instanceTerminationAction": action}
		c.make(zone+"/instances", o)
	}
	c.s.Advance(7 * time.Hour)
	if o := c.get(zone + "/instances/delete"); o["status"] != "RUNNING" {
		t.Errorf("before its time: %v", o["status"])
	}
	c.s.Advance(2 * time.Hour)
	if o := c.get(zone + "/instances/stop"); o["status"] != "TERMINATED" {
		t.Errorf("after its time: %v", o["status"])
	}
	if d := cmp.Diff([]string{"global/networks/lan", region + "/subnetworks/lan", zone + "/disks/stop", zone + "/instances/stop"}, c.s.Names()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestLife(t *testing.T) {
	c := start(t, gcetest.Options{})
	c.lan("lan", "10.0.0.0/24")
	c.make(zone+"/instances", vm("web", "e2-medium", nic("lan", "10.0.0.10")))
	c.make(zone+"/disks", m{"name": "data", "sizeGb": 10})
	c.make(region+"/addresses", m{"name": "ip"})
	do := func(want, verb, path string, body any) {
		t.Helper()
		if got := c.say(verb, path, body); !strings.HasPrefix(got, want) {
			t.Errorf("%s %s: %s, want %s", verb, path, got, want)
		}
	}
	vm := zone + "/instances/web"
	do("ok", "POST", vm+"/attachDisk", m{"source": zone + "/disks/data", "deviceName": "data"})
	do("400 resourceInUse", "POST", vm+"/attachDisk", m{"source": zone + "/disks/data", "deviceName": "data2"})
	do("ok", "POST", vm+"/detachDisk?deviceName=data", nil)
	do("ok", "POST", vm+"/addAccessConfig?networkInterface=nic0", m{"natIP": c.get(region + "/addresses/ip")["address"]})
	do("400 resourceInUse", "DELETE", region+"/addresses/ip", nil)
	do("ok", "POST", vm+"/deleteAccessConfig?networkInterface=nic0&accessConfig=External+NAT", nil)
	do("ok", "POST", vm+"/setDeletionProtection?deletionProtection=true", nil)
	do("400 resourceIsProtected", "DELETE", vm, nil)
	do("ok", "POST", vm+"/setDeletionProtection?deletionProtection=false", nil)
	do("ok", "POST", vm+"/stop", nil)
	do("ok", "POST", vm+"/setMachineType", m{"machineType": zone + "/machineTypes/e2-standard-4"})
	n := c.get(vm)["networkInterfaces"].([]any)[0].(m)
	do("400 invalid", "PATCH", vm+"/updateNetworkInterface?networkInterface=nic0", m{"fingerprint": n["fingerprint"], "networkIP": "10.0.0.1"})
	do("ok", "PATCH", vm+"/updateNetworkInterface?networkInterface=nic0", m{"fingerprint": n["fingerprint"], "networkIP": "10.0.0.20"})
	do("ok", "POST", vm+"/start", nil)
	o := c.get(vm)
	do("ok", "POST", vm+"/setLabels", m{"labels": m{"lab": "x"}, "labelFingerprint": o["labelFingerprint"]})
	do("412", "POST", vm+"/setLabels", m{"labels": m{"lab": "y"}, "labelFingerprint": o["labelFingerprint"]})
	do("ok", "POST", vm+"/setMetadata", m{"items": []any{m{"key": "user-data", "value": "#cloud-config"}}, "fingerprint": o["metadata"].(m)["fingerprint"]})
	do("ok", "POST", vm+"/setTags", m{"items": []any{"b", "a"}, "fingerprint": o["tags"].(m)["fingerprint"]})
	o = c.get(vm)
	if d := cmp.Diff([]any{"a", "b"}, o["tags"].(m)["items"]); d != "" || o["networkInterfaces"].([]any)[0].(m)["networkIP"] != "10.0.0.20" {
		t.Errorf("%s %v", d, o)
	}
	do("200", "GET", vm+"/serialPort?port=1&start=3", nil)
	do("ok", "DELETE", vm, nil)
	do("ok", "DELETE", region+"/subnetworks/lan", nil)
	do("ok", "DELETE", "global/networks/lan", nil)
	if d := cmp.Diff([]string{region + "/addresses/ip", zone + "/disks/data"}, c.s.Names()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
