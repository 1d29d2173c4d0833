package schema

import (
	"encoding/json"
	"fmt"

	"github.com/labctl-dev/labctl/lab"
)

// Services are what a name for services means in this lab: an entry of services, else what lab.ParseService reads.
func (s *Spec) Services(text string) ([]lab.Service, error) {
	d := &decoder{}
	if v := lookup(s.user, []string{"services"}); v.Exists() {
		b, err := v.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("services of the lab: %w", err)
		}
		all := map[string]names{}
		if err := json.Unmarshal(b, &all); err != nil {
			return nil, fmt.Errorf("services of the lab: %w", err)
		}
		d.named(all)
	}
	out := d.service("", text)
	if len(d.problems) > 0 {
		return nil, fmt.Errorf("%s", d.problems[0].Message)
	}
	return out, nil
}
