package reach

import "net/netip"

// Address is the address that the proof counts with for a machine on a network. With standIn it is not the machine's
// own: that one is given by the uplink and not known before the machine runs. ok is false where there is none.
func (p *Proof) Address(machine, network string, v6 bool) (a netip.Addr, standIn, ok bool) {
	n := p.nodes[machine]
	if n == nil {
		return netip.Addr{}, false, false
	}
	a = n.on(network).addr[family(v6)]
	m, _ := p.lab.Machine(machine)
	nic, _ := m.NIC(network)
	_, given := nic.Address(v6)
	return a, a.IsValid() && !given, a.IsValid()
}
