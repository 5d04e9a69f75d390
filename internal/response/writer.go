// Package response holds a response back until everything is decided that must
// be decided before its first byte. It imports nothing of this module and knows
// nothing of sessions. No byte and no header of a handler goes out after its
// response was refused.
package response

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// Committer is what a response waits for. One of Commit and Abandon is called,
// once. Refuse follows a Commit that returns an error or panics.
type Committer interface {
	// Commit is called before the first byte, with the status of the response, which is
	// 101 if the handler takes the connection. It may set headers.
	Commit(h http.Header, status int) error
	// Refuse answers instead of the handler, because of err.
	Refuse(w http.ResponseWriter, err error)
	// Abandon gives up what a handler that panicked has begun. The code that
	// recovers may send the headers.
	Abandon(h http.Header)
}

// Writer is a response that commits before its first byte, whichever method writes
// it. Init comes first.
type Writer struct {
	http.ResponseWriter
	ctx       context.Context // of the request
	committer Committer
	before    http.Header // of the response, before the Writer; nil if there were none

	once    sync.Once
	err     error // why the commit failed; the response is not the handler's then
	refused atomic.Bool
	ignored http.Header // what the handler sets after that
}

// ErrRefused is what a handler gets that writes on after its commit failed.
var ErrRefused = errors.New("usersession: the response was replaced, because the session could not be committed")

// Init makes the zero Writer one of w. The headers that w has already outlive a
// refusal.
func (w *Writer) Init(ctx context.Context, rw http.ResponseWriter, c Committer) {
	w.ResponseWriter, w.ctx, w.committer = rw, ctx, c
	if h := rw.Header(); len(h) > 0 { // else there is nothing to remember
		w.before = h.Clone()
	}
}

// Commit commits once, with the status 200, and reports whether the handler's response
// may go out.
func (w *Writer) Commit() bool { return w.commit(http.StatusOK) }

func (w *Writer) commit(status int) bool {
	w.once.Do(func() {
		w.err = ErrRefused // stands if Commit panics, and somebody recovers
		defer func() {
			if w.err != nil {
				w.refuse()
			}
		}()
		w.err = w.committer.Commit(w.ResponseWriter.Header(), status)
	})
	return w.err == nil
}

// Abandon gives up a response that has not begun.
func (w *Writer) Abandon() {
	w.once.Do(func() {
		w.err = ErrRefused
		w.committer.Abandon(w.ResponseWriter.Header())
	})
}

// Fail refuses a response that has not begun, because of err. It reports false if it has.
func (w *Writer) Fail(err error) (refused bool) {
	w.once.Do(func() {
		w.err, refused = err, true
		w.refuse()
	})
	return refused
}

func (w *Writer) refuse() {
	h := w.ResponseWriter.Header()
	w.ignored = h.Clone()
	w.refused.Store(true)
	clear(h)
	maps.Copy(h, w.before)
	w.committer.Refuse(w.ResponseWriter, w.err)
}

// Header returns the headers of the response. If it was refused, they are
// headers that nobody gets, trailers included.
func (w *Writer) Header() http.Header {
	if w.refused.Load() {
		return w.ignored
	}
	return w.ResponseWriter.Header()
}

// WriteHeader implements http.ResponseWriter. Informational responses do not commit.
func (w *Writer) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(code)
		return
	}
	if w.commit(code) {
		w.ResponseWriter.WriteHeader(code)
	}
}

// Write implements http.ResponseWriter.
func (w *Writer) Write(b []byte) (int, error) {
	if !w.Commit() {
		return 0, ErrRefused
	}
	return w.ResponseWriter.Write(b)
}

// ReadFrom lets io.Copy reach the connection's own, which may use sendfile.
func (w *Writer) ReadFrom(src io.Reader) (int64, error) {
	if !w.Commit() {
		return 0, ErrRefused
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is what http.ResponseController calls.
func (w *Writer) FlushError() error {
	if !w.Commit() {
		return ErrRefused
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher for handlers that assert it.
func (w *Writer) Flush() { w.FlushError() }

// Hijack commits first, because afterwards there is no response to put a cookie
// on. The headers that were to be set are in Header for the handler that writes
// its own.
func (w *Writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.commit(http.StatusSwitchingProtocols) {
		return nil, nil, ErrRefused
	}
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// CloseNotify implements the deprecated http.CloseNotifier, which gin takes every
// response for.
func (w *Writer) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(w.ctx, func() { gone <- true })
	return gone
}

// Unwrap lets http.ResponseController reach the connection's deadlines.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Answer sends what write writes, or status if that is nothing. An ErrorFunc
// that only logs must not make a success of a failure. The function begin has
// the headers before they go out.
func Answer(w http.ResponseWriter, status int, write func(http.ResponseWriter), begin func(http.Header)) {
	t := &tracker{ResponseWriter: w, onBegin: begin}
	if write(t); !t.wrote {
		t.WriteHeader(status)
	}
}

// tracker notes whether a response has begun.
type tracker struct {
	http.ResponseWriter
	onBegin func(http.Header)
	wrote   bool
}

func (t *tracker) begin() {
	if !t.wrote {
		t.wrote = true
		t.onBegin(t.Header())
	}
}

func (t *tracker) WriteHeader(code int) {
	if code >= 200 {
		t.begin()
	}
	t.ResponseWriter.WriteHeader(code)
}

func (t *tracker) Write(b []byte) (int, error) {
	t.begin()
	return t.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController calls.
func (t *tracker) FlushError() error {
	t.begin()
	return http.NewResponseController(t.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (t *tracker) Flush() { t.FlushError() }

// Hijack implements http.Hijacker.
func (t *tracker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	t.begin()
	return http.NewResponseController(t.ResponseWriter).Hijack()
}

func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }
