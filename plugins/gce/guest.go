package gce

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/labctl-dev/labctl/plugins/gce/api"
	"github.com/labctl-dev/labctl/provider"
)

// The metadata that a machine's inside is told by. Seeds hold secrets, which everybody who may read the instance sees:
// once what the seed says is true inside, it is taken out.
const (
	metaSeed    = "user-data"      // read by cloud-init, or else by the startup script
	metaStartup = "startup-script" // run at each boot by Google's guest agent
	metaGuest   = "labctl-guest"   // what was once true inside
)

// putGuest marks a machine with what is true inside.
func (g *gce) putGuest(ctx context.Context, r provider.Resource) error {
	var a guestAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return g.retell(ctx, r.Lab, r.Addr, func(items []api.Item) []api.Item {
		return tell(untell(items, metaSeed), metaGuest, string(text))
	})
}

func (g *gce) deleteGuest(ctx context.Context, o provider.Observed) error {
	mine, err := g.mine(ctx, o.Lab, o.Addr)
	if err != nil || !mine {
		return err
	}
	err = g.retell(ctx, o.Lab, o.Addr, func(items []api.Item) []api.Item { return untell(items, metaGuest) })
	if api.Is(err, api.NotFound) {
		return nil
	}
	return err
}

// retell changes an instance's metadata, if that is a change.
func (g *gce) retell(ctx context.Context, lab string, a provider.Addr, change func([]api.Item) []api.Item) error {
	at := g.path(lab, a)
	return fresh(func() error {
		var i api.Instance
		if err := g.client.Get(ctx, at, &i); err != nil {
			return err
		}
		before := api.Metadata{}
		if i.Metadata != nil {
			before = *i.Metadata
		}
		items := change(slices.Clone(before.Items))
		if slices.Equal(items, before.Items) {
			return nil
		}
		if items == nil {
			items = []api.Item{}
		}
		return g.client.Change(ctx, http.MethodPost, at+"/setMetadata", nil, api.Metadata{Print: before.Print, Items: items})
	})
}

// tell sets the value of a key.
func tell(items []api.Item, key, value string) []api.Item {
	for i := range items {
		if items[i].Key == key {
			items[i].Value = value
			return items
		}
	}
	return append(items, api.Item{Key: key, Value: value})
}

func untell(items []api.Item, key string) []api.Item {
	return slices.DeleteFunc(items, func(i api.Item) bool { return i.Key == key })
}
