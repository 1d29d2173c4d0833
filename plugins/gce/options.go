package gce

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// options are a target's own settings.
type options struct {
	Project     string             `json:"project"`
	Zone        string             `json:"zone"`
	Credentials string             `json:"credentials"`
	Impersonate string             `json:"impersonate"`
	Endpoint    string             `json:"endpoint"`
	Access      string             `json:"access"` // "iap", "external" or "none"
	IAP         string             `json:"iap_endpoint"`
	Images      map[string]string  `json:"images"` // by the lab's names of images
	DiskType    string             `json:"disk_type"`
	MachineType string             `json:"machine_type"` // "" is the smallest that fits
	NAT         bool               `json:"nat"`
	TTL         string             `json:"ttl"`
	Capacity    provider.Judgement `json:"capacity"`    // of quotas
	UplinkCIDR  string             `json:"uplink_cidr"` // of an uplink for which the lab gives none
	DNS         string             `json:"dns"`         // who answers for the lab's names: "lab" or "cloud"
	Records     []recordOption     `json:"dns_records"` // of the lab's zone, beside those of its machines
	DNSEndpoint string             `json:"dns_endpoint"`
}

const optionsCUE = `
// Options of a target whose provider is "gce".
{
	// The project and the zone that everything is made in; the region is the zone's.
	project!: =~"^[a-z][a-z0-9.:-]{4,61}[a-z0-9]$"
	zone!:    =~"^[a-z]+-[a-z]+[0-9]+-[a-z]$"
	// As whom: a file with a service account's key or other credentials; by default Application Default Credentials
	// (gcloud auth application-default login, GOOGLE_APPLICATION_CREDENTIALS, or the machine's own account).
	credentials?: string
	// The service account to act as.
	impersonate?: =~"@"
	// Where the API is; one on this host is not told who asks.
	endpoint?: =~"^https?://.+/$"
	// How labctl gets into machines: through Google's proxy (IAP), which reaches every machine; "external": straight to
	// external addresses and published ports; "none": not at all, and what is inside is left alone.
	access?: "iap" | "external" | "none"
	// Where the proxy is.
	iap_endpoint?: =~"^wss?://"
	// Images here for the lab's names: "projects/P/global/images/family/F", or an image of that form without "family/".
	images?: {[string]: =~"^projects/[^/]+/global/images/(family/)?[^/]+$"}
	// The type of all disks.
	disk_type?: *"pd-balanced" | "pd-standard" | "pd-ssd" | "hyperdisk-balanced"
	// The type of all machines, in place of the smallest that fits; refused for machines that do not fit it.
	machine_type?: =~"^[a-z0-9]+-[a-z0-9-]+$"
	// Whether machines get out of uplinks without an external address of their own (Cloud NAT).
	nat?: *true | bool
	// How long machines run, 30 seconds to 120 days: then the cloud stops them, and ` + "`labctl gc`" + ` removes what is left.
	ttl?: string
	// What is done about a lab for which the project's quotas do not suffice.
	capacity?: *"refuse" | "warn" | "off"
	// Addresses of an uplink for which the lab gives none.
	uplink_cidr?: =~#"^\d+\.\d+\.\d+\.\d+/\d+$"#
	// Who answers for the lab's names: "lab": its role dns or its routers; "cloud": private zones of Cloud DNS, which all
	// machines ask then.
	dns?: *"lab" | "cloud"
	// With dns: "cloud", records of the lab's zone beside those of its machines, as the role dns has them: {name: "www",
	// type: "CNAME", value: "web"}. Names without a last dot are in the zone, "@" is the zone itself.
	dns_records?: [...{
		name:  *"@" | =~"^(@|[A-Za-z0-9_*][A-Za-z0-9_.*-]*)$"
		type!: "A" | "AAAA" | "CAA" | "CNAME" | "MX" | "SRV" | "TXT"
		value!: =~"^[^\n]+$"
		ttl?:   int & >=0 & <=604800
	}]
	// Where Cloud DNS is; by default Google's, or beside an endpoint on this host.
	dns_endpoint?: =~"^https?://.+/$"
}
`

func parseOptions(values map[string]any) (options, error) {
	o := options{Endpoint: api.DefaultEndpoint, IAP: "wss://tunnel.cloudproxy.app/v4", NAT: true, DiskType: "pd-balanced"}
	b, err := json.Marshal(values)
	if err == nil {
		err = json.Unmarshal(b, &o)
	}
	switch {
	case err != nil:
	case o.Project == "":
		err = fmt.Errorf("project: it says in which of your projects the lab is made")
	case strings.Count(o.Zone, "-") != 2:
		err = fmt.Errorf("zone: %q is none such as \"europe-west1-b\"", o.Zone)
	}
	if err == nil && o.TTL != "" {
		var d time.Duration
		if d, err = time.ParseDuration(o.TTL); err == nil && (d < minTTL || d > maxTTL || d%time.Second != 0) {
			err = fmt.Errorf("ttl: %s; an instance's run is limited to 30 seconds to 120 days, in whole seconds", o.TTL)
		}
		o.TTL = d.String()
	}
	if err == nil {
		err = o.settleDNS()
	}
	if o.Access == "" {
		o.Access = accessIAP
		if api.Loopback(o.Endpoint) && !api.Loopback(o.IAP) { // there are no machines behind a server for tests
			o.Access = accessNone
		}
	}
	if rest, ok := strings.CutPrefix(o.Credentials, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			o.Credentials = filepath.Join(home, rest)
		}
	}
	if err != nil {
		return o, &provider.Error{Op: "read target options", Code: provider.Invalid, Text: err.Error()}
	}
	return o, nil
}

// The ways into machines.
const (
	accessIAP      = "iap"
	accessExternal = "external"
	accessNone     = "none"
)

// region is the zone's.
func (o options) region() string { return o.Zone[:strings.LastIndexByte(o.Zone, '-')] }

// Where things are, as paths within the project.
func (o options) zonal(kind string, name ...string) string {
	return path.Join(append([]string{"zones", o.Zone, kind}, name...)...)
}

func (o options) regional(kind string, name ...string) string {
	return path.Join(append([]string{"regions", o.region(), kind}, name...)...)
}

func global(kind string, name ...string) string {
	return path.Join(append([]string{"global", kind}, name...)...)
}

// link is what one thing calls another.
func (o options) link(path string) string { return "projects/" + o.Project + "/" + path }

// transport brings the login, which is looked for when the first request is made: a provider that only expands needs none.
type transport struct {
	opts options
	// endpoint is the API that is asked with it: one on this host is not told who asks.
	endpoint string
	once     sync.Once
	inner    http.RoundTripper
	token    oauth2.TokenSource
	err      error
}

func newTransport(o options, endpoint string) *transport {
	return &transport{opts: o, endpoint: endpoint}
}

// tokens are those of the target's login.
func (t *transport) tokens(r *http.Request) (oauth2.TokenSource, error) {
	t.once.Do(func() {
		base := http.DefaultTransport.(*http.Transport).Clone()
		base.MaxIdleConnsPerHost = 16
		t.inner = base
		if api.Loopback(t.endpoint) {
			return
		}
		// The login outlives the request that it is first needed for.
		t.token, t.err = api.Login{File: t.opts.Credentials, Impersonate: t.opts.Impersonate}.Tokens(withoutCancel(r))
		if t.err == nil {
			t.inner = &oauth2.Transport{Source: oauth2.ReuseTokenSource(nil, t.token), Base: base}
		}
	})
	return t.token, t.err
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if _, err := t.tokens(r); err != nil {
		return nil, &api.LoginError{Err: err}
	}
	return t.inner.RoundTrip(r)
}

// withoutCancel is the request's context for what outlives the request.
func withoutCancel(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }
