package main

import (
	"encoding/binary"
	"net"
	"syscall"
	"time"
	"unsafe"
)

// request is the kernel's struct ifreq.
type request struct {
	name [16]byte
	data [24]byte
}

// cables brings up each interface that is there or comes, with the address that the document has for its MAC.
func (m *machine) cables() {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM, 0)
	if err != nil {
		return
	}
	for ; ; time.Sleep(200 * time.Millisecond) {
		all, _ := net.Interfaces()
		m.mu.Lock()
		for _, i := range all {
			m.cable(fd, i)
		}
		m.mu.Unlock()
	}
}

func (m *machine) cable(fd int, i net.Interface) {
	set := func(op uintptr, data []byte) {
		var r request
		copy(r.name[:], i.Name)
		copy(r.data[:], data)
		_, _, _ = syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), op, uintptr(unsafe.Pointer(&r)))
	}
	inet := func(addr []byte) []byte { // struct sockaddr_in
		return append([]byte{syscall.AF_INET, 0, 0, 0}, addr...)
	}
	if i.Flags&net.FlagUp == 0 {
		set(syscall.SIOCSIFFLAGS, binary.LittleEndian.AppendUint16(nil, syscall.IFF_UP|syscall.IFF_RUNNING))
	}
	for _, n := range m.doc.Network {
		if n.MAC != i.HardwareAddr.String() {
			continue
		}
		if n.MTU > 0 && n.MTU != i.MTU {
			set(syscall.SIOCSIFMTU, binary.LittleEndian.AppendUint32(nil, uint32(n.MTU)))
		}
		for _, p := range n.Addresses {
			if p.Addr().Is4() && !has(i, p.Addr().String()) {
				set(syscall.SIOCSIFADDR, inet(p.Addr().AsSlice()))
				set(syscall.SIOCSIFNETMASK, inet(net.CIDRMask(p.Bits(), 32)))
			}
		}
	}
}

func has(i net.Interface, addr string) bool {
	all, _ := i.Addrs()
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.String() == addr {
			return true
		}
	}
	return false
}
