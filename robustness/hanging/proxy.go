package hanging

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy passes bytes on to a server until it becomes a black hole: then it still
// accepts, and takes what it is sent, and nothing ever comes back.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	hole  chan struct{} // closed when the hole ends; nil: none
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

func newProxy(tb testing.TB, server string) *proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{listener: l, server: server, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// close ends the proxy and its connections.
func (p *proxy) close() {
	p.listener.Close()
	p.heal()
	p.mu.Lock()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

// swallow makes the proxy a black hole.
func (p *proxy) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hole = make(chan struct{})
}

// heal ends the hole: connections that are in it are reset, new ones work.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hole == nil {
		return
	}
	close(p.hole)
	p.hole = nil
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) inHole() chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hole
}

func (p *proxy) add(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
}

func (p *proxy) done(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.add(c)
		p.wg.Go(func() { p.serve(c) })
	}
}

func (p *proxy) serve(c net.Conn) {
	defer p.done(c)
	if p.inHole() != nil {
		io.Copy(io.Discard, c) // until the client gives up, or the hole ends
		return
	}
	s, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	p.add(s)
	defer p.done(s)
	p.wg.Go(func() {
		p.copy(c, s)
		c.Close()
	})
	p.copy(s, c)
}

// copy passes on what comes from src, or swallows it.
func (p *proxy) copy(dst, src net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 && p.inHole() == nil {
			if _, werr := dst.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err == nil {
			continue
		}
		if hole := p.inHole(); hole != nil {
			<-hole // not even the end of a connection comes through
		}
		return
	}
}
