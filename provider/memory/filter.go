package memory

import (
	"encoding/json"
	"fmt"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// Filter implements provider.Filterer: nothing is filtered here unless the target says so.
func (p *memory) Filter(l lab.Lab) (provider.Filter, error) {
	out := provider.Filter{Lab: l}
	b, err := json.Marshal(p.options.Values["filter"])
	if err == nil && p.options.Values["filter"] != nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return provider.Filter{}, &provider.Error{Op: "filter", Code: provider.Invalid, Text: fmt.Sprintf("the target's filter: %v", err)}
	}
	return out, nil
}
