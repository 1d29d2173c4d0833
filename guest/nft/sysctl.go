package nft

// Sysctls are the kernel settings that a router's rules count on, in the syntax of sysctl.d. The ruleset says itself
// which addresses may come from where, for both families, so the kernel's own reverse path filter, which knows IPv4
// only, is off; redirects would let hosts find ways that the proof does not know.
func Sysctls() []byte {
	return []byte(`net.ipv4.ip_forward = 1
net.ipv6.conf.all.forwarding = 1
net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.default.rp_filter = 0
net.ipv4.conf.all.send_redirects = 0
net.ipv4.conf.default.send_redirects = 0
net.ipv4.conf.all.accept_redirects = 0
net.ipv4.conf.default.accept_redirects = 0
net.ipv6.conf.all.accept_redirects = 0
net.ipv6.conf.default.accept_redirects = 0
`)
}
