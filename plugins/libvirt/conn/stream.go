package conn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/digitalocean/go-libvirt"

	"github.com/labctl-dev/labctl/provider"
)

// stream is a connection that carries nothing but one of libvirt's streams. go-libvirt has streams as well, but they
// hang when the other side refuses what was sent, and its console cannot be written to.
type stream struct {
	*link
	proc   uint32
	serial uint32
	early  []received // packets of the stream that came before the answer to the call that opened it
}

// received is a packet.
type received struct {
	header
	payload []byte
}

// stream opens a connection and starts a stream by a call.
func (h *Host) stream(ctx context.Context, proc uint32, args []byte) (*stream, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, h.opts.Connect, errSlow)
	defer cancel()
	l, err := h.link(ctx)
	if err != nil {
		return nil, h.whileConnecting(ctx, nil, err)
	}
	s := &stream{link: l}
	stop := context.AfterFunc(ctx, func() { l.fail(ctx.Err()) })
	defer stop()
	if err := s.open(h.uri.Server()); err != nil {
		defer l.Close()
		return nil, h.whileConnecting(ctx, l, err)
	}
	if _, err := s.call(proc, args); err != nil {
		defer l.Close()
		if notLost(err) {
			return nil, err
		}
		return nil, h.whileConnecting(ctx, l, err)
	}
	s.proc = proc
	return s, nil
}

func (s *stream) open(driver string) error {
	kinds, err := s.call(procAuthList, nil)
	if err != nil {
		return err
	}
	for i := 4; i+4 <= len(kinds); i += 4 {
		if binary.BigEndian.Uint32(kinds[i:]) == authPolkit {
			if _, err := s.call(procAuthPolkit, nil); err != nil {
				return err
			}
		}
	}
	_, err = s.call(procConnectOpen, words{}.option(driver).uint32(0))
	return err
}

// call sends a request and waits for its reply.
func (s *stream) call(proc uint32, args []byte) ([]byte, error) {
	s.serial++
	h := header{Program: remoteProgram, Version: remoteVersion, Procedure: proc, Type: typeCall, Serial: s.serial}
	if _, err := s.Write(packet(h, args)); err != nil {
		return nil, err
	}
	for {
		h, payload, err := readPacket(s)
		switch {
		case err != nil:
			return nil, err
		case h.Program == remoteProgram && h.Type == typeStream && h.Serial == s.serial:
			// libvirtd may send what a stream has before it answers the call that opened it (1 of 50 times, measured).
			s.early = append(s.early, received{h, payload})
		case h.Program != remoteProgram || h.Type != typeReply || h.Serial != s.serial: // an event, or a sign of life
		case h.Status == statusError:
			return nil, remoteError(payload)
		default:
			return payload, nil
		}
	}
}

// next is the next packet: one that came early, or a new one.
func (s *stream) next() (header, []byte, error) {
	if len(s.early) == 0 {
		return readPacket(s)
	}
	p := s.early[0]
	s.early = s.early[1:]
	return p.header, p.payload, nil
}

// send writes a packet of the stream.
func (s *stream) send(status uint32, data []byte) error {
	h := header{Program: remoteProgram, Version: remoteVersion, Procedure: s.proc, Type: typeStream, Serial: s.serial, Status: status}
	_, err := s.Write(packet(h, data))
	return err
}

// receive is the next data of the stream; io.EOF is its end, and a libvirt.Error that the other side broke it off.
func (s *stream) receive() ([]byte, error) {
	for {
		h, payload, err := s.next()
		switch {
		case err != nil:
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // of the connection, not of the stream
			}
			return nil, err
		case h.Program != remoteProgram || h.Type != typeStream || h.Serial != s.serial:
		case h.Status == statusError:
			return nil, remoteError(payload)
		case h.Status == statusOK || len(payload) == 0:
			return nil, io.EOF
		default:
			return payload, nil
		}
	}
}

// Upload writes what r has into a volume, from its beginning; length is how much may be written, in bytes, 0 for as
// much as the volume takes. It returns when libvirt has all of it. A volume that was given up halfway stays as it is.
// r must end when ctx does, or soon after.
//
// libvirt 9.0 now and then says that all is well though the disk was full (4 of 100 times, measured), for what it
// noticed while it wrote is forgotten when the stream ends in that moment. So the last piece that is not zeros is
// read back: code Full if it is not there.
func (h *Host) Upload(ctx context.Context, vol libvirt.StorageVol, r io.Reader, length uint64) error {
	what := "upload volume " + vol.Name
	args := volume(vol).uint64(0).uint64(length).uint32(0)
	var end tail
	err := h.transfer(ctx, what, procVolumeUpload, args, func(s *stream) (err error) { end, err = s.upload(r); return err })
	if err != nil || len(end.data) == 0 {
		return err
	}
	var got bytes.Buffer
	args = volume(vol).uint64(end.offset).uint64(uint64(len(end.data))).uint32(0)
	err = h.transfer(ctx, what+": read back its end", procVolumeDownload, args, func(s *stream) error { return s.download(&got) })
	if err == nil && !bytes.Equal(got.Bytes(), end.data) {
		return failed(provider.Full, what, errors.New("libvirt took it without an error, but its end is not there: the disk of its pool is full"))
	}
	return err
}

// tail is the last piece of an upload that is not zeros, which a volume that was cut short has not got.
type tail struct {
	offset uint64
	data   []byte
}

// Download writes what a volume holds to w, at most length bytes from its beginning, 0 for all of it.
func (h *Host) Download(ctx context.Context, vol libvirt.StorageVol, w io.Writer, length uint64) error {
	args := volume(vol).uint64(0).uint64(length).uint32(0)
	return h.transfer(ctx, "download volume "+vol.Name, procVolumeDownload, args, func(s *stream) error { return s.download(w) })
}

func volume(v libvirt.StorageVol) words {
	return words{}.text(v.Pool).text(v.Name).text(v.Key)
}

func (h *Host) transfer(ctx context.Context, what string, proc uint32, args []byte, f func(*stream) error) error {
	select {
	case h.streams <- struct{}{}:
	case <-ctx.Done():
		return gaveUp(ctx, what+": waiting for other transfers")
	}
	defer func() { <-h.streams }()
	s, err := h.stream(ctx, proc, args)
	if err != nil {
		return explain(what, err)
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.fail(ctx.Err()) })
	defer stop()
	err = f(s)
	switch cause := s.lost(); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return gaveUp(ctx, what)
	case cause != nil && !errors.Is(err, errSource) && !notLost(err):
		return failed(provider.Unavailable, what, cause)
	}
	return explain(what, err)
}

// errSource marks an error of what the caller gave us to read or write.
var errSource = errors.New("our side")

// upload sends and listens at once, for libvirt may refuse in the middle.
func (s *stream) upload(r io.Reader) (tail, error) {
	var end tail
	source := make(chan error, 1)
	go func() { source <- s.pour(r, &end) }()
	_, answer := s.receive()
	if answer != io.EOF {
		s.fail(answer) // ends pour
	}
	if err := <-source; errors.Is(err, errSource) {
		return end, err
	}
	if answer == io.EOF {
		return end, nil
	}
	return end, answer
}

// pour sends all that r has, and that this was all.
func (s *stream) pour(r io.Reader, end *tail) error {
	buf := make([]byte, chunk)
	for offset := uint64(0); ; {
		n, err := fill(r, buf)
		if n > 0 {
			if err := s.send(statusGo, buf[:n]); err != nil {
				return err
			}
			if !zeros(buf[:n]) {
				end.offset = offset
				end.data, buf = buf[:n], slices.Grow(end.data[:0], chunk)[:chunk]
			}
			offset += uint64(n)
		}
		switch {
		case err == io.EOF:
			return s.send(statusOK, nil)
		case err != nil:
			err = fmt.Errorf("%w: %w", errSource, err)
			s.fail(err) // libvirtd drops the stream with the connection
			return err
		}
	}
}

func zeros(b []byte) bool {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0 {
			return false
		}
	}
	return true
}

// fill is io.ReadFull that says io.EOF only and always for the regular end: a source that ends too early, which some
// say by io.ErrUnexpectedEOF, is not taken for whole.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

func (s *stream) download(w io.Writer) error {
	for {
		data, err := s.receive()
		if err == io.EOF {
			return s.send(statusOK, nil)
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("%w: %w", errSource, err)
		}
	}
}

// Console is a serial console or another character device of a running domain, both ways. device is its alias, "" for
// the first console. With force, a client that has it already loses it; else that is code InUse.
// The stream ends with the domain. Closing it is the caller's; ctx is only for opening it.
func (h *Host) Console(ctx context.Context, dom libvirt.Domain, device string, force bool) (io.ReadWriteCloser, error) {
	flags := uint32(libvirt.DomainConsoleSafe)
	if force {
		flags = uint32(libvirt.DomainConsoleForce)
	}
	args := append(words{}.text(dom.Name), dom.UUID[:]...).uint32(uint32(dom.ID)).option(device).uint32(flags)
	what := "open the console of domain " + dom.Name
	s, err := h.stream(ctx, procDomainConsole, args)
	if err != nil {
		return nil, explain(what, err)
	}
	return &console{stream: s}, nil
}

// console makes io of packets.
type console struct {
	*stream
	mu   sync.Mutex // one reader at a time
	rest bytes.Reader
}

func (c *console) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.rest.Len() == 0 {
		data, err := c.receive()
		if err != nil {
			if errors.Is(c.lost(), io.ErrClosedPipe) || err == io.EOF {
				return 0, io.EOF
			}
			return 0, explain("read the console", err)
		}
		c.rest.Reset(data)
	}
	return c.rest.Read(p)
}

func (c *console) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		part := p[n:min(n+chunk, len(p))]
		if err := c.send(statusGo, part); err != nil {
			return n, explain("write to the console", err)
		}
		n += len(part)
	}
	return len(p), nil
}

// Close ends the console; a Read under way returns io.EOF.
func (c *console) Close() error {
	c.fail(io.ErrClosedPipe)
	return c.stream.Close()
}
