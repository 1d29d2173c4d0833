package schema

import (
	"errors"

	"github.com/labctl-dev/labctl/lab"
)

// Services are what a name for services means in this lab: an entry of services, else what lab.ParseService reads.
func (s *Spec) Services(text string) ([]lab.Service, error) {
	d := &decoder{services: s.services}
	out := d.service("", text)
	if len(d.problems) > 0 {
		return nil, errors.New(d.problems[0].Message)
	}
	return out, nil
}
