package netd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/labctl-dev/labctl/plugins/qemu/netd/gateway"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/l2"
	"github.com/labctl-dev/labctl/plugins/qemu/netd/lease"
)

// lan is one network at work.
type lan struct {
	dir   string // its folder of sockets
	give  string // folder of what machines that install themselves are given
	log   *slog.Logger
	sw    *l2.Switch
	ports *ports
	door  *l2.Port // the gateway's
	stop  context.CancelFunc
	done  sync.WaitGroup
	// forwards lead from the host into the network.
	forwards forwards

	mu     sync.Mutex
	config Network
	id     gateway.Identity
	gw     *gateway.Gateway // nil only after a change that failed
	leases lease.Server
	// installs is nil while the network gives none.
	installs *installs
}

// newLAN makes a network; root is the folder of networks' folders, give that of what machines install.
func newLAN(ctx context.Context, root, give string, n Network, log *slog.Logger) (*lan, error) {
	l := &lan{dir: filepath.Join(root, n.Key), give: give, log: log.With("network", n.Name), sw: l2.New(n.MTU, time.Now)}
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the network's folder: %w", err)
	}
	l.ports = &ports{sw: l.sw, dir: l.dir, log: log.With("network", n.Name), open: map[string]*port{}}
	l.door = l.sw.NewPort()
	l.forwards = forwards{dial: l.reach, log: log.With("network", n.Name), open: map[netip.AddrPort]*forwarded{}}
	ctx, l.stop = context.WithCancel(ctx)
	if err := l.set(ctx, root, n); err != nil {
		l.close()
		return nil, err
	}
	l.done.Go(func() { l.ports.watch(ctx) })
	return l, nil
}

// set makes the network into n. Ports stay connected; so do connections through the gateway, unless its address or
// task changes.
func (l *lan) set(ctx context.Context, root string, n Network) error {
	if err := l.forwards.set(ctx, n.Forward); err != nil { // first: it alone can fail for reasons of the host
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sw.SetMTU(n.MTU)
	l.ports.setJoin(n.Join)
	l.config = n
	id := n.identity(root)
	if l.gw != nil && reflect.DeepEqual(id, l.id) {
		l.gw.Set(n.config())
		return l.setInstalls(n, false, l.log)
	}
	if l.gw != nil {
		l.installs.close()
		l.gw.Close()
		l.gw = nil
	}
	gw, err := gateway.New(ctx, id, n.config(), l.door, &l.leases)
	if err != nil {
		return err
	}
	l.gw, l.id = gw, id
	return l.setInstalls(n, true, l.log)
}

// close ends the network. Its folder goes if no machine's socket is left in it.
func (l *lan) close() {
	l.forwards.close()
	l.stop()
	l.done.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.installs.close()
	if l.gw != nil {
		l.gw.Close()
		l.gw = nil
	}
	_ = os.Remove(l.dir)
}

func (l *lan) name() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.config.Name
}

func (l *lan) status() NetworkStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := NetworkStatus{Network: l.config, Ports: l.ports.list(), Leases: l.leases.Leases()}
	s.Gateway = GatewayStatus{MAC: l.id.MAC.String(), Addr: l.config.Addr(), Addr6: l.config.Addr6(), Counters: l.door.Counters()}
	if l.gw != nil {
		s.Gateway.Ping = l.gw.Ping()
	}
	if l.installs != nil {
		s.Installs = l.installs.server.Status()
	}
	return s
}

// yield gives up a forwarded port that another network takes.
func (l *lan) yield(at netip.AddrPort) {
	if !l.forwards.release(at) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.config.Forward = slices.DeleteFunc(slices.Clone(l.config.Forward), func(f Forward) bool { return f.Listen == at })
}

// reach connects to an address on the network, or behind one of its routers.
func (l *lan) reach(ctx context.Context, to netip.AddrPort) (gateway.Stream, error) {
	l.mu.Lock()
	gw := l.gw
	l.mu.Unlock()
	if gw == nil {
		return nil, errors.New("the network has no gateway")
	}
	return gw.Dial(ctx, to)
}

// dial connects to the machine by all the addresses it may have at once; the first connection wins.
func (l *lan) dial(ctx context.Context, r DialRequest) (gateway.Stream, error) {
	addrs, err := r.addrs()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		conn gateway.Stream
		err  error
	}
	results := make(chan result, len(addrs))
	for _, a := range addrs {
		go func() {
			conn, err := l.reach(ctx, netip.AddrPortFrom(a, r.Port))
			results <- result{conn, err}
		}()
	}
	var errs []error
	for i := range addrs {
		got := <-results
		if got.err != nil {
			errs = append(errs, got.err)
			continue
		}
		cancel()
		for range addrs[i+1:] { // the others are broken off; a second connection is not needed
			if late := <-results; late.conn != nil {
				_ = late.conn.Close()
			}
		}
		return got.conn, nil
	}
	return nil, telling(errs)
}

// telling is the error that says most about the machine: that it is there is more than silence.
func telling(errs []error) error {
	for _, code := range []Code{Refused, Canceled, Timeout, Unreachable} {
		for _, err := range errs {
			if CodeOf(err) == code {
				return fail("dial", code, "%v", errors.Join(errs...))
			}
		}
	}
	return fail("dial", Failed, "%v", errors.Join(errs...))
}

func (r DialRequest) addrs() ([]netip.Addr, error) {
	var all []netip.Addr
	if r.Addr.IsValid() {
		all = append(all, r.Addr.Unmap().WithZone(""))
	}
	if r.MAC != "" {
		hw, err := net.ParseMAC(r.MAC)
		if err != nil || len(hw) != 6 {
			return nil, fail("dial", Invalid, "%q is no MAC such as 02:00:00:00:00:01", r.MAC)
		}
		all = append(all, LinkLocal(hw))
	}
	if len(all) == 0 || r.Port == 0 {
		return nil, fail("dial", Invalid, "neither address nor MAC, or no port")
	}
	return all, nil
}

// LinkLocal is the IPv6 address that a machine gives itself from the MAC of its interface (RFC 4291, appendix A).
func LinkLocal(mac net.HardwareAddr) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
}
