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

// remote is a provider in a plugin's process. It implements provider.Provider only; see withAbilities.
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

// doctor is the part of remote that implements provider.Doctor.
type doctor struct{ r *remote }

// Doctor implements provider.Doctor.
func (d doctor) Doctor(ctx context.Context) ([]provider.Diagnosis, error) {
	answer, err := d.r.c.call(ctx, "doctor", "Doctor", request{Provider: d.r.handle})
	return answer.Diagnoses, err
}

// dialer is the part of remote that implements provider.Dialer.
type dialer struct{ r *remote }

// Dial implements provider.Dialer. ctx bounds the dialing only.
func (d dialer) Dial(ctx context.Context, e provider.Endpoint) (io.ReadWriteCloser, error) {
	return d.r.open(ctx, "dial", "Dial", request{Lab: &e.Lab, Machine: e.Machine, Port: e.Port}, true)
}

// consoler is the part of remote that implements provider.Consoler.
type consoler struct{ r *remote }

// Console implements provider.Consoler. ctx bounds the opening only.
func (c consoler) Console(ctx context.Context, l lab.Lab, machine string) (io.ReadWriteCloser, error) {
	return c.r.open(ctx, "console", "Console", request{Lab: &l, Machine: machine}, true)
}

// Log implements provider.Consoler. ctx bounds the opening only.
func (c consoler) Log(ctx context.Context, l lab.Lab, machine string, follow bool) (io.ReadCloser, error) {
	return c.r.open(ctx, "log", "Log", request{Lab: &l, Machine: machine, Follow: follow}, false)
}

// withAbilities is r with the optional interfaces that the description announces. Whether a Go value has an interface
// is a matter of its type, so there is a type for each combination.
func (c *Client) withAbilities(r *remote) provider.Provider {
	type mix struct{ dial, console, doctor bool }
	d := c.Description
	switch (mix{d.Has(provider.Dials), d.Has(provider.Consoles), d.Has(provider.Diagnoses)}) {
	case mix{true, true, true}:
		return struct {
			*remote
			dialer
			consoler
			doctor
		}{r, dialer{r}, consoler{r}, doctor{r}}
	case mix{true, true, false}:
		return struct {
			*remote
			dialer
			consoler
		}{r, dialer{r}, consoler{r}}
	case mix{true, false, true}:
		return struct {
			*remote
			dialer
			doctor
		}{r, dialer{r}, doctor{r}}
	case mix{false, true, true}:
		return struct {
			*remote
			consoler
			doctor
		}{r, consoler{r}, doctor{r}}
	case mix{true, false, false}:
		return struct {
			*remote
			dialer
		}{r, dialer{r}}
	case mix{false, true, false}:
		return struct {
			*remote
			consoler
		}{r, consoler{r}}
	case mix{false, false, true}:
		return struct {
			*remote
			doctor
		}{r, doctor{r}}
	}
	return r
}
