package reach

import (
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/labctl-dev/labctl/guest/nft"
)

// ask sends one packet for real, and says which machine answers; "" if none does.
func (k *kernel) ask(space string, q Packet, zone string, wait time.Duration) (who string, err error) {
	err = k.inside(space, func() error {
		dst := q.Dst
		if zone != "" {
			dst = dst.WithZone(index(nft.Interface(zone)))
		}
		if q.Proto == "icmp" {
			who = ping(dst, wait)
			return nil
		}
		d := net.Dialer{Timeout: wait}
		if q.Proto == "udp" {
			d.LocalAddr = nil
		}
		c, err := d.Dial(q.Proto, netip.AddrPortFrom(dst, q.Dport).String())
		if err != nil {
			return nil
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(wait))
		if _, err := c.Write([]byte("?")); err != nil {
			return nil
		}
		b := make([]byte, 64)
		n, err := c.Read(b)
		if err == nil {
			who = string(b[:n])
		}
		return nil
	})
	return who, err
}

// ping is an echo request; who answers cannot be seen, so it is "?".
func ping(dst netip.Addr, wait time.Duration) string {
	domain, proto, kind := unix.AF_INET, unix.IPPROTO_ICMP, byte(8)
	if dst.Is6() {
		domain, proto, kind = unix.AF_INET6, unix.IPPROTO_ICMPV6, 128
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	tv := unix.NsecToTimeval(int64(wait))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	if err := unix.Connect(fd, sockaddr(dst)); err != nil {
		return ""
	}
	if _, err := unix.Write(fd, []byte{kind, 0, 0, 0, 0, 0, 0, 1, 'x'}); err != nil {
		return ""
	}
	b := make([]byte, 64)
	if n, err := unix.Read(fd, b); err != nil || n < 8 {
		return ""
	}
	return "?"
}

func sockaddr(a netip.Addr) unix.Sockaddr { return sockaddrPort(a, 0) }

func sockaddrPort(a netip.Addr, port uint16) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(port)}
	}
	s := &unix.SockaddrInet6{Addr: a.As16(), Port: int(port)}
	if a.Zone() != "" {
		n, _ := strconv.Atoi(a.Zone())
		s.ZoneId = uint32(n)
	}
	return s
}

// shout sends one UDP packet with any address as its source.
func (k *kernel) shout(space string, q Packet, nonce string) error {
	return k.inside(space, func() error {
		domain := unix.AF_INET
		if q.Dst.Is6() {
			domain = unix.AF_INET6
		}
		fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if domain == unix.AF_INET {
			err = unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1)
		} else {
			err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
		}
		if err != nil {
			return err
		}
		if err := unix.Bind(fd, sockaddrPort(q.Src, q.Sport)); err != nil {
			return err
		}
		return unix.Sendto(fd, []byte(nonce), 0, sockaddrPort(q.Dst, q.Dport))
	})
}
