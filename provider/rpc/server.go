package rpc

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/labctl-dev/labctl/provider"
)

// server is the plugin's end: it turns requests into calls of the plugin's providers.
type server struct {
	plugin provider.Plugin
	log    *os.File
	stdio  sync.Once
	calls  sync.WaitGroup

	mu        sync.Mutex
	providers []provider.Provider // by handle, which is the index + 1
}

// service lists the methods; labctl.proto describes them.
func (s *server) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Metadata:    "labctl.proto",
		Methods: []grpc.MethodDesc{
			s.unary("Describe", s.describe), s.unary("New", s.new), s.unary("Expand", s.expand),
			s.unary("Observe", s.observe), s.unary("Doctor", s.doctor),
			s.unary("Snapshots", s.snapshots), s.unary("Adoptable", s.adoptable), s.unary("Capacity", s.capacity),
			s.unary("Installations", s.installations), s.unary("Prices", s.prices), s.unary("Expired", s.expired),
			s.unary("Filter", s.filter), s.unary("Quotas", s.quotas),
		},
		Streams: []grpc.StreamDesc{
			s.change("Create", create), s.change("Update", update), s.change("Delete", remove),
			s.change("TakeSnapshot", s.takeSnapshot), s.change("RestoreSnapshot", s.restoreSnapshot), s.change("RemoveSnapshot", s.removeSnapshot),
			s.change("StartOnce", s.startOnce),
			{StreamName: "Dial", Handler: s.stream("Dial", s.dial), ServerStreams: true, ClientStreams: true},
			{StreamName: "Console", Handler: s.stream("Console", s.console), ServerStreams: true, ClientStreams: true},
			{StreamName: "Log", Handler: s.stream("Log", s.bootLog), ServerStreams: true},
		},
	}
}

// call runs one method: it counts it, turns a panic into an error, and the error into what gRPC carries.
func (s *server) call(method string, f func() error) error {
	s.calls.Add(1)
	defer s.calls.Done()
	// go-plugin has replaced os.Stdout and os.Stderr by pipes that die with the process, and with them the last words of
	// a plugin that crashes. The first call, which labctl makes alone, puts the log back; stdout is labctl's, so what is
	// printed there by mistake goes to the log too.
	s.stdio.Do(func() { os.Stdout, os.Stderr = s.log, s.log })
	return toStatus(s.guard(method, f))
}

// guard makes an error of a panic; its stack goes to the log.
func (s *server) guard(method string, f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			fmt.Fprintf(s.log, "panic in %s: %v\n%s", method, r, debug.Stack())
			err = &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("the plugin panicked: %v (its log has the stack)", r)}
		}
	}()
	return f()
}

func (s *server) unary(name string, f func(context.Context, request) (reply, error)) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(_ any, ctx context.Context, read func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var in wrapperspb.BytesValue
		if err := read(&in); err != nil {
			return nil, err
		}
		var out *wrapperspb.BytesValue
		err := s.call(name, func() error {
			var r request
			if err := decode(&in, &r); err != nil {
				return err
			}
			answer, err := f(ctx, r)
			if err != nil {
				return err
			}
			out, err = encode(answer)
			return err
		})
		return out, err
	}}
}

// stream is the handler of a method that reads its request from a stream.
func (s *server) stream(name string, f func(request, grpc.ServerStream) error) grpc.StreamHandler {
	return func(_ any, g grpc.ServerStream) error {
		return s.call(name, func() error {
			var in wrapperspb.BytesValue
			if err := g.RecvMsg(&in); err != nil {
				return err
			}
			var r request
			if err := decode(&in, &r); err != nil {
				return err
			}
			return f(r, g)
		})
	}
}

// get returns the provider with a handle.
func (s *server) get(handle string) (provider.Provider, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := strconv.Atoi(handle)
	if err != nil || n < 1 || n > len(s.providers) {
		return nil, &provider.Error{Code: provider.Internal, Text: fmt.Sprintf("no provider has the handle %q", handle)}
	}
	return s.providers[n-1], nil
}

func (s *server) describe(context.Context, request) (reply, error) {
	d := s.plugin.Description
	d.Built = provider.ThisProgram()
	d.Version = cmp.Or(d.Version, d.Built.Version)
	return reply{Description: &d}, nil
}

func (s *server) new(_ context.Context, r request) (reply, error) {
	if r.Options == nil {
		return reply{}, missing("options")
	}
	p, err := s.plugin.New(*r.Options)
	if err != nil {
		return reply{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.providers = append(s.providers, p)
	return reply{Provider: strconv.Itoa(len(s.providers))}, nil
}

func (s *server) expand(_ context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	rs, err := p.Expand(*r.Lab, r.Seeds)
	return reply{Resources: rs}, err
}

func (s *server) observe(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	if r.Lab == nil {
		return reply{}, missing("lab")
	}
	found, err := p.Observe(ctx, *r.Lab)
	return reply{Observed: found}, err
}

func (s *server) doctor(ctx context.Context, r request) (reply, error) {
	p, err := s.get(r.Provider)
	if err != nil {
		return reply{}, err
	}
	d, ok := p.(provider.Doctor)
	if !ok || !s.plugin.Description.Has(provider.Diagnoses) {
		return reply{}, cannot(provider.Diagnoses)
	}
	ds, err := d.Doctor(ctx)
	return reply{Diagnoses: ds}, err
}

func missing(field string) error {
	return &provider.Error{Code: provider.Internal, Text: "the request has no " + field}
}

func cannot(a provider.Ability) error {
	return &provider.Error{Code: provider.Unsupported, Text: fmt.Sprintf("this provider does not have the ability %q", a)}
}
