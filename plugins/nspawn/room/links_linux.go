package room

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

func (c Cable) device() string { return device("v-", c.Machine+"/"+c.Network) }

// alias tells whose a cable is; the kernel keeps it with the interface.
func (c Cable) alias() string { return c.Machine + " " + c.Network + " " + c.MAC }

// ip does all of lines or says which it could not.
func ip(lines ...string) error {
	cmd := exec.Command("ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip: %w: %s (of: %s)", err, strings.TrimSpace(string(out)), strings.Join(lines, "; "))
	}
	return nil
}

// link is what `ip -j link` says of an interface.
type link struct {
	Name   string   `json:"ifname"`
	Alias  string   `json:"ifalias"`
	Master string   `json:"master"`
	Flags  []string `json:"flags"`
	MTU    int      `json:"mtu"`
}

func links() (map[string]link, error) {
	out, err := exec.Command("ip", "-j", "link").Output()
	if err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	var list []link
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("ip link: %w", err)
	}
	all := map[string]link{}
	for _, l := range list {
		all[l.Name] = l
	}
	return all, nil
}

// prepare makes an empty namespace fit to be the room.
func (r *server) prepare() error {
	for key, value := range map[string]string{
		"net/bridge/bridge-nf-call-iptables": "0", "net/bridge/bridge-nf-call-ip6tables": "0", "net/bridge/bridge-nf-call-arptables": "0",
		"net/ipv4/ip_forward": "1", "net/ipv6/conf/default/disable_ipv6": "1", "net/ipv6/conf/default/accept_ra": "0",
	} {
		// Some kernels lack some of them, and then nothing is to be set.
		_ = os.WriteFile("/proc/sys/"+key, []byte(value), 0o644)
	}
	return ip("link set lo up")
}

func (r *server) status() (*Status, error) {
	all, err := links()
	if err != nil {
		return nil, err
	}
	st := &Status{PID: os.Getpid()}
	for name, n := range r.networks {
		if l, ok := all[bridge(name)]; ok {
			is := n.Network
			is.MTU = l.MTU
			st.Networks = append(st.Networks, is)
		}
	}
	slices.SortFunc(st.Networks, func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
	for _, l := range all {
		words := strings.Split(l.Alias, " ")
		if !strings.HasPrefix(l.Name, "v-") || len(words) != 3 || l.Master != bridge(words[1]) {
			continue
		}
		st.Cables = append(st.Cables, Cable{Machine: words[0], Network: words[1], MAC: words[2], Up: slices.Contains(l.Flags, "UP")})
	}
	slices.SortFunc(st.Cables, func(a, b Cable) int { return strings.Compare(a.alias(), b.alias()) })
	return st, nil
}

// plug lays a cable, or sets the one that there is.
func (r *server) plug(c Cable) error {
	n, ok := r.networks[c.Network]
	if !ok {
		return fmt.Errorf("there is no network %s", c.Network)
	}
	all, err := links()
	if err != nil {
		return err
	}
	dev, state := c.device(), "down"
	if c.Up {
		state = "up"
	}
	have, there := all[dev]
	if there && have.Alias != c.alias() {
		if err := ip("link del " + dev); err != nil {
			return err
		}
		there = false
	}
	var do []string
	if !there {
		// One that a room which was killed has left lives as long as anything of that room does.
		_ = exec.Command("nsenter", fmt.Sprintf("--net=/proc/%d/ns/net", c.PID), "ip", "link", "del", c.Device).Run()
		do = append(do, fmt.Sprintf("link add %s mtu %d type veth peer name %s address %s mtu %d netns %d", dev, n.MTU, c.Device, c.MAC, n.MTU, c.PID))
	}
	return ip(append(do,
		fmt.Sprintf("link set %s master %s", dev, bridge(c.Network)),
		fmt.Sprintf("link set %s %s", dev, state),
		fmt.Sprintf("link set %s alias \"%s\"", dev, c.alias()), // last: without it the cable is not finished
	)...)
}

func (r *server) unplug(c Cable) error {
	all, err := links()
	if err != nil {
		return err
	}
	if _, there := all[c.device()]; !there {
		return nil
	}
	return ip("link del " + c.device())
}

// put writes a setting of an interface; disableIPv6 and the like.
func put(dev, family, key string, value int) error {
	return os.WriteFile("/proc/sys/net/"+family+"/conf/"+dev+"/"+key, []byte(strconv.Itoa(value)), 0o644)
}
