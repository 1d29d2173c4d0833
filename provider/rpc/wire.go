// Package rpc carries the provider contract between labctl and a plugin's process: Serve is the plugin's end, Launch is
// labctl's. labctl.proto tells authors of plugins in other languages what goes over the wire.
//
// It must not know what any provider does, nor what labctl does with the answers.
package rpc

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// service is the gRPC service of labctl.proto.
const service = "labctl.provider.v1.Provider"

// maxError is the longest text of an error that crosses, in bytes; gRPC carries errors in headers, which are limited.
const maxError = 16 << 10

// window is how many bytes of one stream may be under way, and chunk how many go in one message.
const (
	window = 1 << 20
	chunk  = 32 << 10
)

// request is the JSON of every request; each method reads the fields that labctl.proto lists for it.
type request struct {
	Provider string              `json:"provider,omitempty"` // what New answered
	Options  *provider.Options   `json:"options,omitempty"`
	Lab      *lab.Lab            `json:"lab,omitempty"`
	Seeds    map[string]lab.Seed `json:"seeds,omitempty"`
	Observed *provider.Observed  `json:"observed,omitempty"`
	Resource *provider.Resource  `json:"resource,omitempty"`
	Machine  string              `json:"machine,omitempty"`
	Port     int                 `json:"port,omitempty"`
	Follow   bool                `json:"follow,omitempty"`
	Snapshot *provider.Snapshot  `json:"snapshot,omitempty"`
	Start    *provider.Start     `json:"start,omitempty"`

	Query *provider.PriceQuery `json:"query,omitempty"`
	Now   *time.Time           `json:"now,omitempty"`
	Takes *provider.QuotaQuery `json:"takes,omitempty"`
}

// reply is the JSON of every reply.
type reply struct {
	Description *provider.Description `json:"description,omitempty"`
	Provider    string                `json:"provider,omitempty"`
	Resources   []provider.Resource   `json:"resources,omitempty"`
	Observed    []provider.Observed   `json:"observed,omitempty"`
	Candidates  []provider.Candidate  `json:"candidates,omitempty"`
	Diagnoses   []provider.Diagnosis  `json:"diagnoses,omitempty"`
	Snapshots   []provider.Snapshot   `json:"snapshots,omitempty"`
	Capacity    *provider.Capacity    `json:"capacity,omitempty"`
	Step        *provider.Step        `json:"step,omitempty"`

	Installations []provider.Installation `json:"installations,omitempty"`
	Prices        *provider.Prices        `json:"prices,omitempty"`
	Remnants      []provider.Remnant      `json:"remnants,omitempty"`
	Filter        *provider.Filter        `json:"filter,omitempty"`
	Quotas        *provider.Quotas        `json:"quotas,omitempty"`
}

// handshake is how go-plugin knows that a program was started as a plugin of ours. It is no secret.
func handshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{MagicCookieKey: "LABCTL_PLUGIN", MagicCookieValue: "provider"}
}

func encode(v any) (*wrapperspb.BytesValue, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode for the wire: %w", err)
	}
	return wrapperspb.Bytes(b), nil
}

func decode(m *wrapperspb.BytesValue, v any) error {
	if err := json.Unmarshal(m.GetValue(), v); err != nil {
		return &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("what came over the wire is not understood: %v", err)}
	}
	return nil
}

// toStatus makes err, if any, what gRPC carries: a status with the JSON of the provider.Error as its detail.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	e := *provider.Wrap("", provider.Addr{}, err).(*provider.Error) // what Wrap returns, by its comment
	if len(e.Text) > maxError {
		e.Text = e.Text[:maxError] + "..."
	}
	e.Text = strings.ToValidUTF8(e.Text, "?")
	detail, err := encode(e)
	if err != nil {
		return status.Error(codes.Unknown, e.Error())
	}
	st, err := status.New(codes.Unknown, e.Error()).WithDetails(detail)
	if err != nil {
		return status.Error(codes.Unknown, e.Error())
	}
	return st.Err()
}

// fromStatus is the reverse of toStatus; nil if err is not one that toStatus made.
func fromStatus(err error) *provider.Error {
	st, ok := status.FromError(err)
	if !ok {
		return nil
	}
	for _, d := range st.Details() {
		m, ok := d.(*wrapperspb.BytesValue)
		if !ok {
			continue
		}
		var e provider.Error
		if decode(m, &e) == nil && e.Code != "" {
			return &e
		}
	}
	return nil
}

// codeOf is the provider's code for a gRPC status without a detail, as a plugin in another language may send it.
func codeOf(c codes.Code) provider.Code {
	switch c {
	case codes.Canceled:
		return provider.Canceled
	case codes.DeadlineExceeded:
		return provider.Timeout
	case codes.InvalidArgument:
		return provider.Invalid
	case codes.NotFound:
		return provider.NotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return provider.Denied
	case codes.ResourceExhausted:
		return provider.Full
	case codes.Unimplemented:
		return provider.Unsupported
	}
	return provider.Internal
}
