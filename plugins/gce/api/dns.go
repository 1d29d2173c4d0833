package api

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// DefaultDNS is where Google's own Cloud DNS is.
const DefaultDNS = "https://dns.googleapis.com/dns/v1/"

// DNS speaks to Cloud DNS for one project. It is another API than compute: what cannot be done is refused at once, there
// are no requestIds, and a change that was accepted is pending until all name servers know it. So a request without an
// answer, sent again, may find its own work done: Exists, or NotFound. Whoever asks looks then.
type DNS struct{ c *Client }

// NewDNS makes a client of the API at endpoint, as New does.
func NewDNS(endpoint, project string, h *http.Client) *DNS {
	return &DNS{New(endpoint, project, h)}
}

// Zone is a managed zone.
type Zone struct {
	Name        string            `json:"name"`
	DNSName     string            `json:"dnsName"` // with a dot at the end
	Description string            `json:"description"`
	Visibility  string            `json:"visibility"`
	Labels      map[string]string `json:"labels"`
	Private     Private           `json:"privateVisibilityConfig"`
}

// Private says which networks see a zone.
type Private struct {
	Networks []ZoneNetwork `json:"networks"`
}

// ZoneNetwork is one of these.
type ZoneNetwork struct {
	URL string `json:"networkUrl"` // whole: a path alone is refused here
}

// RecordSet is all records of a name and type.
type RecordSet struct {
	Name string   `json:"name"` // with a dot at the end
	Type string   `json:"type"`
	TTL  int      `json:"ttl"` // seconds
	Data []string `json:"rrdatas"`
}

// RecordChange is done as a whole or not at all. Deletions must be what there is exactly (else Stale), additions must not
// be there (else Exists).
type RecordChange struct {
	Additions []RecordSet `json:"additions,omitempty"`
	Deletions []RecordSet `json:"deletions,omitempty"`
}

// Zones reads all zones, page after page; each gets one as it came. dnsName picks those of one domain; "" is all.
func (d *DNS) Zones(ctx context.Context, dnsName string, each func(json.RawMessage) error) error {
	query := url.Values{}
	if dnsName != "" {
		query.Set("dnsName", dnsName)
	}
	return d.list(ctx, "managedZones", query, each)
}

// Records reads all record sets of a zone.
func (d *DNS) Records(ctx context.Context, zone string, each func(RecordSet) error) error {
	return d.list(ctx, "managedZones/"+zone+"/rrsets", url.Values{}, func(raw json.RawMessage) error {
		var r RecordSet
		if err := json.Unmarshal(raw, &r); err != nil {
			return err
		}
		return each(r)
	})
}

func (d *DNS) list(ctx context.Context, path string, query url.Values, each func(json.RawMessage) error) error {
	for {
		var page struct {
			Zones   []json.RawMessage `json:"managedZones"`
			Records []json.RawMessage `json:"rrsets"`
			Next    string            `json:"nextPageToken"`
		}
		if err := d.c.repeat(ctx, func() error { return d.c.ask(ctx, http.MethodGet, path, query, nil, &page) }); err != nil {
			return err
		}
		for _, item := range append(page.Zones, page.Records...) {
			if err := each(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		query.Set("pageToken", page.Next)
	}
}

// Zone reads a zone into v.
func (d *DNS) Zone(ctx context.Context, name string, v any) error {
	return d.c.Get(ctx, "managedZones/"+name, v)
}

// CreateZone makes a zone.
func (d *DNS) CreateZone(ctx context.Context, z Zone) error {
	return d.c.repeat(ctx, func() error { return d.c.ask(ctx, http.MethodPost, "managedZones", nil, z, nil) })
}

// PatchZone changes fields of a zone and returns when the change is known everywhere.
func (d *DNS) PatchZone(ctx context.Context, name string, fields any) error {
	return d.change(ctx, http.MethodPatch, "managedZones/"+name, "managedZones/"+name+"/operations/", fields)
}

// DeleteZone deletes a zone, in which nothing is left; what is absent already is success.
func (d *DNS) DeleteZone(ctx context.Context, name string) error {
	err := d.c.repeat(ctx, func() error { return d.c.ask(ctx, http.MethodDelete, "managedZones/"+name, nil, nil, nil) })
	if Is(err, NotFound) {
		return nil
	}
	return err
}

// Record reads one record set; false if there is none.
func (d *DNS) Record(ctx context.Context, zone, name, kind string) (r RecordSet, ok bool, err error) {
	err = d.c.Get(ctx, "managedZones/"+zone+"/rrsets/"+url.PathEscape(name)+"/"+kind, &r)
	if Is(err, NotFound) {
		return RecordSet{}, false, nil
	}
	return r, err == nil, err
}

// ChangeRecords changes a zone's records and returns when all name servers know it.
func (d *DNS) ChangeRecords(ctx context.Context, zone string, c RecordChange) error {
	at := "managedZones/" + zone + "/changes"
	return d.change(ctx, http.MethodPost, at, at+"/", c)
}

// The pauses between two looks at a change that is pending.
const (
	firstLook = 20 * time.Millisecond
	lastLook  = 5 * time.Second
)

// change asks for a change and waits until what came of it is no longer pending.
func (d *DNS) change(ctx context.Context, method, path, watch string, body any) error {
	var state struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if err := d.c.repeat(ctx, func() error { return d.c.ask(ctx, method, path, nil, body, &state) }); err != nil {
		return err
	}
	began := time.Now()
	for pause := firstLook; state.Status == "pending"; pause = min(2*pause, lastLook) {
		if time.Since(began) > patience {
			return &Error{Reason: Backend, Text: "Cloud DNS has accepted the change and not told its name servers in " + patience.String()}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		err := d.c.Get(ctx, watch+state.ID, &state)
		if Is(err, NotFound) {
			return nil // it was done, and its zone deleted
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Quota is what the project may have, by the API's own words: "managedZones".
func (d *DNS) Quota(ctx context.Context) (map[string]float64, error) {
	var answer struct {
		Quota map[string]any `json:"quota"`
	}
	err := d.c.Get(ctx, "", &answer)
	out := map[string]float64{}
	for name, v := range answer.Quota {
		if n, ok := v.(float64); ok {
			out[name] = n
		}
	}
	return out, err
}
