package schema_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/labctl-dev/labctl/schema"
)

// TestServices reads services by the lab's own names and by their own.
func TestServices(t *testing.T) {
	s, err := schema.Load(schema.Options{Args: []string{"testdata/routed.cue"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"web": "[tcp/80 tcp/443]", "ssh": "[tcp/22]", "tcp/1-9": "[tcp/1-9]", "icmp": "[icmp]"} {
		if got, err := s.Services(text); err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s is %v, %v; want %s", text, got, err, want)
		}
	}
	if _, err := s.Services("wbe"); err == nil || !strings.Contains(err.Error(), `did you mean "web"?`) {
		t.Errorf("wbe: %v", err)
	}
}
