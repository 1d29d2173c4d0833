package rpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/lab"
	"github.com/labctl-dev/labctl/provider"
)

// remote is a provider in a plugin's process. Whether a Go value has an interface is a matter of its type, and a type for
// each combination of the optional ones would be too many: it has them all, and the plugin refuses what it did not
// announce.
type remote struct {
	c      *Client
	handle string
}

// Expand implements provider.Provider.
func (r *remote) Expand(l lab.Lab, seeds map[string]lab.Seed) ([]provider.Resource, error) {
	ctx, cancel := context.WithTimeout(context.Background(), r.c.timeout)
	defer cancel()
	answer, err := r.c.call(ctx, "expand", "Expand", request{Provider: r.handle, Lab: &l, Seeds: seeds})
	return answer.Resources, err
}

// Observe implements provider.Provider.
func (r *remote) Observe(ctx context.Context, l lab.Lab) ([]provider.Observed, error) {
	answer, err := r.c.call(ctx, "observe", "Observe", request{Provider: r.handle, Lab: &l})
	return answer.Observed, err
}

// Create implements provider.Provider.
func (r *remote) Create(ctx context.Context, res provider.Resource, p provider.Progress) error {
	return r.change(ctx, "create", "Create", res.Addr, request{Resource: &res}, p)
}

// Update implements provider.Provider.
func (r *remote) Update(ctx context.Context, o provider.Observed, res provider.Resource, p provider.Progress) error {
	return r.change(ctx, "update", "Update", res.Addr, request{Observed: &o, Resource: &res}, p)
}

// Delete implements provider.Provider.
func (r *remote) Delete(ctx context.Context, o provider.Observed, p provider.Progress) error {
	return r.change(ctx, "delete", "Delete", o.Addr, request{Observed: &o}, p)
}

// change runs a verb in the plugin and passes its steps on.
func (r *remote) change(ctx context.Context, op, method string, a provider.Addr, req request, p provider.Progress) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel() // gRPC lets go of a stream only when it has ended or its context has
	req.Provider = r.handle
	phase := ""
	s, err := r.c.stream(running, method, grpc.StreamDesc{}, req)
	for err == nil {
		var m wrapperspb.BytesValue
		if err = s.RecvMsg(&m); err != nil {
			break
		}
		var part reply
		if err = decode(&m, &part); err == nil && part.Step != nil {
			phase = part.Step.Phase
			p(*part.Step)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return r.c.fail(ctx, op, a, phase, err)
}

// Doctor implements provider.Doctor.
func (r *remote) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	answer, err := r.c.call(ctx, "doctor", "Doctor", request{Provider: r.handle})
	return answer.Diagnoses, err
}

// Dial implements provider.Dialer. ctx bounds the dialing only.
func (r *remote) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	return r.open(ctx, "dial", "Dial", request{Lab: &e.Lab, Machine: e.Machine, Port: e.Port}, true)
}

// Console implements provider.Consoler. ctx bounds the opening only.
func (r *remote) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	return r.open(ctx, "console", "Console", request{Lab: &l, Machine: machine}, true)
}

// Log implements provider.Consoler. ctx bounds the opening only.
func (r *remote) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	return r.open(ctx, "log", "Log", request{Lab: &l, Machine: machine, Follow: follow}, false)
}

// Snapshots implements provider.Snapshotter.
func (r *remote) Snapshots(ctx context.Context, l lab.Lab) ([]provider.Snapshot, error) {
	answer, err := r.c.call(ctx, "list snapshots", "Snapshots", request{Provider: r.handle, Lab: &l})
	return answer.Snapshots, err
}

// TakeSnapshot implements provider.Snapshotter.
func (r *remote) TakeSnapshot(ctx context.Context, l lab.Lab, s provider.Snapshot, p provider.Progress) error {
	return r.change(ctx, "take snapshot "+s.Name, "TakeSnapshot", provider.Addr{}, request{Lab: &l, Snapshot: &s}, p)
}

// RestoreSnapshot implements provider.Snapshotter.
func (r *remote) RestoreSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	return r.change(ctx, "restore snapshot "+name, "RestoreSnapshot", provider.Addr{}, request{Lab: &l, Snapshot: &provider.Snapshot{Name: name}}, p)
}

// RemoveSnapshot implements provider.Snapshotter.
func (r *remote) RemoveSnapshot(ctx context.Context, l lab.Lab, name string, p provider.Progress) error {
	return r.change(ctx, "remove snapshot "+name, "RemoveSnapshot", provider.Addr{}, request{Lab: &l, Snapshot: &provider.Snapshot{Name: name}}, p)
}
