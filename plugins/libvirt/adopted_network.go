package libvirt

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/plugins/libvirt/conn"
	"github.com/labctl-dev/labctl/provider"
)

// lookHostNetwork is a network by its name on the host; nil if there is none.
func lookHostNetwork(c *libvirt.Libvirt, host, labName string) (*networkSeen, error) {
	net, err := c.NetworkLookupByName(host)
	if conn.Is(err, libvirt.ErrNoNetwork) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	n := &networkSeen{net: net}
	active, err := c.NetworkIsActive(net)
	if err != nil {
		return nil, err
	}
	n.active = active == 1
	return n, n.look(c, labName)
}

// adoptNetwork marks a network as the lab's, and does nothing else to it.
func (v *virt) adoptNetwork(ctx context.Context, r provider.Resource) error {
	var a adoptedNetworkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	m := mark{Lab: r.Lab, Target: v.target, Name: r.Addr.Name, note: note{Adopted: a.Adopted}}
	return v.host.Ask(ctx, "adopt network "+a.Adopted, func(c *libvirt.Libvirt) error {
		n, err := lookHostNetwork(c, a.Adopted, r.Lab)
		switch {
		case err != nil:
			return err
		case n == nil:
			return &provider.Error{Code: provider.NotFound, Text: "the host has no network " + a.Adopted}
		case n.mark.Lab == r.Lab && n.mark.Name == r.Addr.Name && n.mark.Adopted != "":
			return nil
		case n.mark.Lab != "":
			return theirs("network "+a.Adopted, "network", n.mark)
		}
		if kept, err := c.NetworkIsPersistent(n.net); err != nil || kept == 0 {
			if err == nil {
				err = &provider.Error{Code: provider.Unsupported, Text: "libvirt forgets network " + a.Adopted + " when it stops, and a mark on it"}
			}
			return err
		}
		return markNetwork(c, n.net, m.element())
	})
}

// updateAdoptedNetwork starts an adopted network that was stopped; all else of it stays as it is.
func (v *virt) updateAdoptedNetwork(ctx context.Context, r provider.Resource) error {
	var a adoptedNetworkAttrs
	if err := decode(r.Addr, r.Attrs, &a); err != nil {
		return err
	}
	return v.host.Ask(ctx, "start network "+a.Adopted, func(c *libvirt.Libvirt) error {
		n, err := lookHostNetwork(c, a.Adopted, r.Lab)
		if err != nil {
			return err
		}
		if n == nil || n.mark.Lab != r.Lab || n.mark.Adopted == "" {
			return &provider.Error{Code: provider.NotFound, Text: "the lab has not adopted a network " + a.Adopted}
		}
		x := networkOfXML(n.live, n.mark)
		if a.CIDR.IsValid() && x.CIDR.IsValid() && a.CIDR != x.CIDR || a.CIDR6.IsValid() && x.CIDR6.IsValid() && a.CIDR6 != x.CIDR6 {
			text := fmt.Sprintf("network %s is adopted and stays as it is: it has %s", a.Adopted, x.CIDR)
			if x.CIDR6.IsValid() {
				text += " and " + x.CIDR6.String()
			}
			return &provider.Error{Code: provider.Unsupported, Text: text + "; say that in the lab"}
		}
		if n.active {
			return nil
		}
		return startNetwork(c, n.net)
	})
}

// releaseNetwork takes the mark from an adopted network.
func (v *virt) releaseNetwork(ctx context.Context, o provider.Observed) error {
	var a adoptedNetworkAttrs
	if err := decode(o.Addr, o.Attrs, &a); err != nil {
		return err
	}
	host := o.Outputs["network"] // it may have another name than it had
	if host == "" {
		host = a.Adopted
	}
	return v.host.Ask(ctx, "release network "+host, func(c *libvirt.Libvirt) error {
		n, err := lookHostNetwork(c, host, o.Lab)
		if gone(err) || err == nil && (n == nil || n.mark.Lab != o.Lab || n.mark.Name != o.Addr.Name) {
			return nil
		}
		if err != nil {
			return err
		}
		return markNetwork(c, n.net, "")
	})
}

// markNetwork puts a mark into a network's persistent definition, or takes it out, and leaves every other byte of that as
// it is.
func markNetwork(c *libvirt.Libvirt, net libvirt.Network, element string) error {
	text, err := c.NetworkGetXMLDesc(net, uint32(libvirt.NetworkXMLInactive))
	if err != nil {
		return err
	}
	if text, err = remark(text, element); err != nil {
		return err
	}
	_, err = c.NetworkDefineXML(text)
	return err
}

// remark is a definition with another mark in its <metadata>; "" is none.
func remark(text, element string) (string, error) {
	d := xml.NewDecoder(strings.NewReader(text))
	var root, open int64    // where the content of the root begins, and that of its <metadata>
	var whole, cut [2]int64 // where <metadata> is, and our mark
	depth, before := 0, int64(0)
	for inside := false; ; before = d.InputOffset() {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("libvirt's own definition is not understood: %w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			depth++
			switch {
			case depth == 1:
				root = d.InputOffset()
			case depth == 2 && t.Name.Local == "metadata":
				inside, open, whole[0] = true, d.InputOffset(), before
			case depth == 3 && inside && t.Name.Space == markURI:
				cut[0] = before
			}
		case xml.EndElement:
			switch {
			case depth == 2 && inside:
				inside, whole[1] = false, d.InputOffset()
			case depth == 3 && inside && t.Name.Space == markURI:
				cut[1] = d.InputOffset()
			}
			depth--
		}
	}
	switch {
	case cut[1] > 0 && element == "" && strings.TrimSpace(text[open:cut[0]]) == "" && strings.HasPrefix(strings.TrimSpace(text[cut[1]:]), "</metadata>"):
		return text[:whole[0]] + strings.TrimLeft(text[whole[1]:], " \n"), nil
	case cut[1] > 0:
		return text[:cut[0]] + element + text[cut[1]:], nil
	case element == "":
		return text, nil
	case open > 0 && strings.HasSuffix(text[:open], "/>"):
		return text[:strings.LastIndex(text[:open], "<")] + "<metadata>" + element + "</metadata>" + text[open:], nil
	case open > 0:
		return text[:open] + element + text[open:], nil
	}
	return text[:root] + "<metadata>" + element + "</metadata>" + text[root:], nil
}
