package redisstore_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// recorder is a hook that notes each round trip of a client.
type recorder struct {
	mu    sync.Mutex
	trips []string
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trips = nil
}

func (r *recorder) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.trips)
}

func (r *recorder) add(trip string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trips = append(r.trips, trip)
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook { return next }

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.add(cmd.Name())
		return next(ctx, cmd)
	}
}

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.add(fmt.Sprintf("pipeline of %d", len(cmds)))
		return next(ctx, cmds)
	}
}

// deafDialer opens connections that can lose an answer.
type deafDialer struct {
	loseNextAnswer atomic.Bool
}

func (d *deafDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &deafConn{Conn: conn, dialer: d}, nil
}

type deafConn struct {
	net.Conn
	dialer *deafDialer
}

// Read waits for the answer, so that the command has been carried out, and
// throws it away.
func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.dialer.loseNextAnswer.CompareAndSwap(true, false) {
		_ = c.Close()
		return 0, io.EOF
	}
	return n, err
}

// countingDialer counts what the connections it opens write: one call of Write
// is what a client sends before it waits.
type countingDialer struct {
	mu     sync.Mutex
	writes map[string]int // by address
}

func (d *countingDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &countingConn{Conn: conn, dialer: d, addr: addr}, nil
}

// reset forgets the writes so far and returns them.
func (d *countingDialer) reset() map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	writes := d.writes
	d.writes = make(map[string]int)
	return writes
}

type countingConn struct {
	net.Conn
	dialer *countingDialer
	addr   string
}

func (c *countingConn) Write(p []byte) (int, error) {
	c.dialer.mu.Lock()
	if c.dialer.writes != nil {
		c.dialer.writes[c.addr]++
	}
	c.dialer.mu.Unlock()
	return c.Conn.Write(p)
}
