// Package spacetest builds a lab of network namespaces for tests: every machine with its addresses, routes and the very
// ruleset that its policy is compiled to, and a shell in each. No virtual machine is needed, but root is.
//
// It must not know what is asked in there.
package spacetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/labctl-dev/labctl/guest"
	"github.com/labctl-dev/labctl/guest/nft"
	"github.com/labctl-dev/labctl/lab"
)

// Need skips a test where namespaces cannot be made; in CI that fails.
func Need(t testing.TB) {
	t.Helper()
	why := ""
	for _, program := range []string{"ip", "nft", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			why = program + " is not installed"
		}
	}
	if os.Geteuid() != 0 {
		why = "it makes network namespaces, which needs root"
	}
	switch {
	case why == "":
	case os.Getenv("CI") == "true":
		t.Fatal(why)
	default:
		t.Skip(why)
	}
}

// Spaces is a lab made of namespaces. They are gone when the test ends.
type Spaces struct {
	lab    lab.Lab
	ways   *lab.Topology
	prefix string
	given  int // addresses on uplinks without CIDR
}

const prefix = "sp"

// Build makes the namespaces of a complete lab. Machines on an uplink without CIDR get an address of 198.18.77.0/24.
func Build(t testing.TB, l lab.Lab) *Spaces {
	t.Helper()
	sweep()
	s := &Spaces{lab: l, ways: lab.NewTopology(l), prefix: fmt.Sprintf("%s%d-%d-", prefix, os.Getpid(), time.Now().UnixNano()%1e6)}
	t.Cleanup(func() {
		for _, n := range s.names() {
			_ = exec.Command("ip", "netns", "del", s.prefix+n).Run()
		}
	})
	sets, err := nft.All(l)
	if err == nil {
		err = s.build(sets)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// sweep removes what killed runs have left.
func sweep() {
	all, _ := filepath.Glob("/run/netns/" + prefix + "*-*-*")
	for _, f := range all {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(f), prefix), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if b, _ := os.ReadFile("/proc/" + pid + "/cmdline"); !bytes.Contains(b, []byte(".test")) {
			_ = exec.Command("ip", "netns", "del", filepath.Base(f)).Run()
		}
	}
}

// names are the namespaces: the machines, and the wires between them.
func (s *Spaces) names() []string {
	out := []string{"(wires)"}
	for i := range s.lab.Machines {
		out = append(out, s.lab.Machines[i].Name)
	}
	return out
}

func (s *Spaces) build(sets map[string]nft.Ruleset) error {
	for _, n := range s.names() {
		if err := run(nil, "ip", "netns", "add", s.prefix+n); err != nil {
			return err
		}
	}
	for _, m := range s.lab.Machines { // before there are interfaces, which take over what is set
		set := "net.ipv6.conf.default.accept_dad = 0\nnet.ipv6.conf.default.accept_ra = 0\nnet.ipv4.conf.all.rp_filter = 0\nnet.ipv4.conf.default.rp_filter = 0\n"
		if m.Router {
			set += string(nft.Sysctls())
		}
		if err := s.in(m.Name, []byte(set), "sysctl", "-q", "-p", "-"); err != nil {
			return err
		}
	}
	if err := s.wire(); err != nil {
		return err
	}
	for i := range s.lab.Machines {
		if err := s.machine(&s.lab.Machines[i]); err != nil {
			return err
		}
	}
	for name, set := range sets {
		if err := s.in(name, set.Render(), "nft", "-f", "-"); err != nil {
			return err
		}
	}
	return nil
}

// wire makes a bridge for each network and plugs the machines in.
func (s *Spaces) wire() error {
	var b strings.Builder
	port := 0
	for i, n := range s.lab.Networks {
		fmt.Fprintf(&b, "link add b%d type bridge mcast_snooping 0\nlink set b%d up\n", i, i)
		for _, m := range s.lab.Machines {
			if nic, ok := m.NIC(n.Name); ok {
				fmt.Fprintf(&b, "link add p%d type veth peer name %s address %s netns %s%s\n", port, nft.Interface(n.Name), nic.MAC, s.prefix, m.Name)
				fmt.Fprintf(&b, "link set p%d master b%d up\n", port, i)
				port++
			}
		}
	}
	return s.in("(wires)", []byte(b.String()), "ip", "-batch", "-")
}

func (s *Spaces) machine(m *lab.Machine) error {
	var b strings.Builder
	b.WriteString("link set lo up\n")
	for _, nic := range m.NICs {
		dev := nft.Interface(nic.Network)
		n, _ := s.lab.Network(nic.Network)
		fmt.Fprintf(&b, "link set %s up\n", dev)
		for _, v6 := range []bool{false, true} {
			a, has := nic.Address(v6)
			switch p, ok := n.Prefix(v6); {
			case has && ok:
				fmt.Fprintf(&b, "addr add %s/%d dev %s\n", a, p.Bits(), dev)
			case n.Uplink && !n.CIDR.IsValid() && !v6:
				s.given++
				fmt.Fprintf(&b, "addr add 198.18.77.%d/24 dev %s\n", 20+s.given, dev)
			}
		}
	}
	for _, r := range s.ways.Routes(m.Name) {
		if !r.Via.IsValid() {
			r.Via = netip.MustParseAddr("198.18.77.1")
		}
		fmt.Fprintf(&b, "route add %s via %s dev %s\n", r.To, r.Via, nft.Interface(r.Network))
	}
	return s.in(m.Name, []byte(b.String()), "ip", "-batch", "-")
}

// Do runs a program in a machine and fails the test if that fails.
func (s *Spaces) Do(t testing.TB, machine, stdin string, args ...string) {
	t.Helper()
	if err := s.in(machine, []byte(stdin), args...); err != nil {
		t.Fatal(err)
	}
}

func (s *Spaces) in(space string, stdin []byte, args ...string) error {
	return run(stdin, append([]string{"ip", "netns", "exec", s.prefix + space}, args...)...)
}

func run(stdin []byte, args ...string) error {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s\n%s", strings.Join(args, " "), err, out, stdin)
	}
	return nil
}

// Command is a program in a machine that the caller starts and ends.
func (s *Spaces) Command(machine string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", s.prefix + machine}, args...)...)
}

// Shell is a way into a machine.
func (s *Spaces) Shell(machine string) guest.Shell { return shell{s, machine} }

type shell struct {
	s       *Spaces
	machine string
}

// Run implements guest.Shell.
func (h shell) Run(ctx context.Context, line string, stdin io.Reader) (guest.Output, error) {
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", h.s.prefix+h.machine, "sh", "-c", line)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if stdin != nil { // not cmd.Stdin: Wait would wait for its end
		in, err := cmd.StdinPipe()
		if err != nil {
			return guest.Output{}, err
		}
		go func() {
			_, _ = io.Copy(in, stdin) // a program need not read all of it
			_ = in.Close()
		}()
	}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return guest.Output{}, ctx.Err()
	case err == nil, errors.As(err, &exit):
		return guest.Output{Stdout: out.Bytes(), Stderr: errs.Bytes(), Exit: cmd.ProcessState.ExitCode()}, nil
	}
	return guest.Output{}, err
}
