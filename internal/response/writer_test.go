package response

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// fake is a Committer that notes what it is asked for.
type fake struct {
	calls  []string
	err    error
	panics bool
}

func (f *fake) Commit(h http.Header, status int) error {
	f.calls = append(f.calls, "commit")
	if f.panics {
		panic("commit")
	}
	if f.err == nil {
		h.Set("Set-Cookie", "committed")
	}
	return f.err
}

func (f *fake) Refuse(w http.ResponseWriter, err error) {
	f.calls = append(f.calls, "refuse: "+err.Error())
	http.Error(w, "refused", http.StatusServiceUnavailable)
}

func (f *fake) Abandon(http.Header) { f.calls = append(f.calls, "abandon") }

// finals is a recorder that, as a server does, sends informational responses first.
type finals struct{ *httptest.ResponseRecorder }

func (f finals) WriteHeader(code int) {
	if code >= 200 || code == http.StatusSwitchingProtocols {
		f.ResponseRecorder.WriteHeader(code)
	}
}

// Hijack implements http.Hijacker.
func (finals) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func newWriter(ctx context.Context, c Committer) (*Writer, *httptest.ResponseRecorder) {
	rec := httptest.NewRecorder()
	rec.Header().Set("X-Before", "1")
	w := new(Writer)
	w.Init(ctx, finals{rec}, c)
	return w, rec
}

// firsts are the ways in which a response begins.
var firsts = map[string]func(w *Writer) error{
	"Write":       func(w *Writer) error { _, err := w.Write([]byte("body")); return err },
	"WriteHeader": func(w *Writer) error { w.WriteHeader(http.StatusTeapot); return nil },
	"switching":   func(w *Writer) error { w.WriteHeader(http.StatusSwitchingProtocols); return nil },
	"ReadFrom":    func(w *Writer) error { _, err := io.Copy(w, strings.NewReader("body")); return err },
	"Flush":       func(w *Writer) error { w.Flush(); return nil },
	"FlushError":  func(w *Writer) error { return http.NewResponseController(w).Flush() },
	"Hijack":      func(w *Writer) error { _, _, err := w.Hijack(); return err },
	"end":         func(w *Writer) error { w.Commit(); return nil },
}

func TestCommitsOnceBeforeTheFirstByte(t *testing.T) {
	for name, first := range firsts {
		t.Run(name, func(t *testing.T) {
			f := &fake{}
			w, rec := newWriter(t.Context(), f)
			w.WriteHeader(http.StatusEarlyHints)
			if len(f.calls) > 0 {
				t.Fatal("an informational response commits")
			}
			if err := first(w); err != nil {
				t.Fatal(err)
			}
			w.Write([]byte("more"))
			w.Commit()
			w.Abandon()
			if !slices.Equal(f.calls, []string{"commit"}) {
				t.Errorf("calls: %v", f.calls)
			}
			if rec.Header().Get("Set-Cookie") != "committed" {
				t.Error("the header came too late")
			}
		})
	}
}

func TestRefused(t *testing.T) {
	for name, first := range firsts {
		t.Run(name, func(t *testing.T) {
			f := &fake{err: errors.New("down")}
			w, rec := newWriter(t.Context(), f)
			w.Header().Set("X-Secret", "1")
			if err := first(w); err != nil && err != ErrRefused {
				t.Errorf("the handler gets %v", err)
			}
			w.Header().Set("X-Late", "1")
			if n, err := w.Write([]byte("secret")); n != 0 || err != ErrRefused {
				t.Errorf("the handler writes on: %d, %v", n, err)
			}
			if _, err := w.ReadFrom(strings.NewReader("secret")); err != ErrRefused {
				t.Errorf("the handler copies on: %v", err)
			}
			if _, _, err := w.Hijack(); err != ErrRefused {
				t.Errorf("the handler takes the connection: %v", err)
			}
			if err := w.FlushError(); err != ErrRefused {
				t.Errorf("the handler flushes: %v", err)
			}
			w.WriteHeader(http.StatusOK)
			if !slices.Equal(f.calls, []string{"commit", "refuse: down"}) {
				t.Errorf("calls: %v", f.calls)
			}
			res := rec.Result()
			if rec.Code != http.StatusServiceUnavailable || rec.Body.String() != "refused\n" {
				t.Errorf("the client gets %d %q", rec.Code, rec.Body)
			}
			if res.Header.Get("X-Before") != "1" || res.Header.Get("X-Secret") != "" || rec.Header().Get("X-Late") != "" {
				t.Errorf("the client gets the headers %v", res.Header)
			}
		})
	}
}

// A Store that panics, in a program that goes on.
func TestCommitPanics(t *testing.T) {
	f := &fake{panics: true}
	w, rec := newWriter(t.Context(), f)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic is swallowed")
			}
		}()
		w.Write([]byte("secret"))
	}()
	if _, err := w.Write([]byte("secret")); err != ErrRefused {
		t.Errorf("the handler writes on: %v", err)
	}
	if !slices.Equal(f.calls, []string{"commit", "refuse: " + ErrRefused.Error()}) || rec.Body.String() != "refused\n" {
		t.Errorf("calls: %v; body %q", f.calls, rec.Body)
	}
}

func TestAbandoned(t *testing.T) {
	f := &fake{}
	w, rec := newWriter(t.Context(), f)
	w.Abandon()
	w.Abandon()
	if _, err := w.Write([]byte("secret")); err != ErrRefused {
		t.Errorf("the handler writes on: %v", err)
	}
	if !slices.Equal(f.calls, []string{"abandon"}) || rec.Body.Len() > 0 {
		t.Errorf("calls: %v; body %q", f.calls, rec.Body)
	}
}

func TestCloseNotify(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	w, _ := newWriter(ctx, &fake{})
	gone := w.CloseNotify()
	select {
	case <-gone:
		t.Error("the client has gone at first")
	default:
	}
	cancel()
	<-gone
}

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name  string
		write func(http.ResponseWriter)
		want  int
	}{
		{"nothing", func(http.ResponseWriter) {}, http.StatusServiceUnavailable},
		{"a hint only", func(w http.ResponseWriter) { w.WriteHeader(http.StatusEarlyHints) }, http.StatusServiceUnavailable},
		{"a status", func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) }, http.StatusTeapot},
		{"a body", func(w http.ResponseWriter) { io.WriteString(w, "body") }, http.StatusOK},
		{"a flush", func(w http.ResponseWriter) { http.NewResponseController(w).Flush() }, http.StatusOK},
		{"a flush by hand", func(w http.ResponseWriter) { w.(http.Flusher).Flush() }, http.StatusOK},
		{"a connection taken", func(w http.ResponseWriter) { http.NewResponseController(w).Hijack() }, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := httptest.NewRecorder()
			began := 0
			Answer(finals{rec}, http.StatusServiceUnavailable, c.write, func(http.Header) { began++ })
			if began != 1 {
				t.Errorf("the headers were looked through %d times, want once", began)
			}
			if rec.Code != c.want {
				t.Errorf("the answer is %d, want %d", rec.Code, c.want)
			}
		})
	}
}
