package backendtest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"sync"

	"github.com/seed-296ca7ab/usersession"
)

// browser is a client with cookies. Its tabs share them.
type browser struct {
	*env
	jar       http.CookieJar
	userAgent string
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

func (e *env) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		e.Fatal(err)
	}
	return &browser{env: e, jar: jar, userAgent: firefox}
}

// request sends a request that fn answers, inside LoadAndSave.
//
//sourcetest:goroutine
func (b *browser) request(ctx context.Context, fn http.HandlerFunc) (answer, error) {
	id := rand.Text()
	b.handlers.Store(id, fn)
	defer b.handlers.Delete(id)
	r, err := http.NewRequestWithContext(ctx, "POST", b.srv.URL, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set(handlerHeader, id)
	r.Header.Set("User-Agent", b.userAgent)
	c := http.Client{Transport: b.srv.Client().Transport, Jar: b.jar}
	resp, err := c.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// serve sends a request that fn answers.
//
//sourcetest:goroutine
func (b *browser) serve(fn http.HandlerFunc) answer {
	b.Helper()
	a, err := b.request(b.Context(), fn)
	if err != nil {
		b.Errorf("request: %v", err)
	}
	return a
}

// handlerBody and answerHeader are what the handlers of do answer.
const (
	handlerBody  = "the handler's body"
	answerHeader = "X-Test-Answer"
)

// do sends a request whose handler calls fn and answers handlerBody.
//
//sourcetest:goroutine
func (b *browser) do(fn func(ctx context.Context)) answer {
	b.Helper()
	return b.serve(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(answerHeader, "set")
		fn(r.Context())
		io.WriteString(w, handlerBody)
	})
}

// user returns who the browser is logged in as; "" if it is not.
func (b *browser) user() (user string) {
	b.Helper()
	a := b.do(func(ctx context.Context) { user = b.m.UserID(ctx) })
	if a.status != http.StatusOK {
		b.Errorf("asking for the user: %d %s", a.status, oneLine(a.body))
	}
	return user
}

// wantUser fails the test if the browser is not logged in as user.
func (b *browser) wantUser(user string) {
	b.Helper()
	if got := b.user(); got != user {
		b.Errorf("the browser is logged in as %q, want %q", got, user)
	}
}

// login logs the browser in and returns the session's ID.
func (b *browser) login(user string, opts ...usersession.LoginOption) (id string) {
	b.Helper()
	var err error
	a := b.do(func(ctx context.Context) {
		if err = b.m.Login(ctx, user, opts...); err == nil {
			var s usersession.UserSession
			s, err = b.m.Current(ctx)
			id = s.ID
		}
	})
	if err != nil || a.status != http.StatusOK {
		b.Fatalf("login: %v, %d %s", err, a.status, oneLine(a.body))
	}
	return id
}

// put changes a value of the session.
func (b *browser) put(key string, value any) answer {
	b.Helper()
	return b.do(func(ctx context.Context) { b.m.Put(ctx, key, value) })
}

// get returns a value of the session.
func (b *browser) get(key string) (value any) {
	b.Helper()
	b.do(func(ctx context.Context) { value = b.m.Get(ctx, key) })
	return value
}

func (b *browser) url() *url.URL {
	u, err := url.Parse(b.srv.URL)
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// token returns the token in the browser's cookie; "" if it has none.
func (b *browser) token() string {
	for _, c := range b.jar.Cookies(b.url()) {
		if c.Name == b.m.Cookie.Name {
			return c.Value
		}
	}
	return ""
}

// thief returns a browser that has stolen a token.
func (e *env) thief(token string) *browser {
	t := e.browser()
	t.jar.SetCookies(t.url(), []*http.Cookie{{Name: e.m.Cookie.Name, Value: token, Path: "/", Secure: true}})
	return t
}

// wantDead fails the test if a token is still good for anything.
func (e *env) wantDead(token string) {
	e.Helper()
	if token == "" {
		e.Error("there is no token that could be dead")
		return
	}
	t := e.thief(token)
	var user string
	a := t.do(func(ctx context.Context) { user = e.m.UserID(ctx) })
	if user != "" || a.status != http.StatusOK {
		e.Errorf("a token that should be dead: logged in as %q, status %d", user, a.status)
	}
	if c := a.header.Values("Set-Cookie"); len(c) > 0 {
		e.Errorf("a dead token set a cookie: %q", c)
	}
}

// wantRefused fails the test if the answer is not that to a request whose
// session ended meanwhile.
func (e *env) wantRefused(a answer) {
	e.Helper()
	if a.status != http.StatusUnauthorized {
		e.Errorf("status %d, want 401", a.status)
	}
	e.wantWithheld(a)
}

// wantWithheld fails the test if anything of the handler came through.
func (e *env) wantWithheld(a answer) {
	e.Helper()
	if c := a.header.Values("Set-Cookie"); len(c) > 0 {
		e.Errorf("the answer sets a cookie: %q", c)
	}
	if a.header.Get(answerHeader) != "" {
		e.Error("the answer has the handler's header")
	}
	if strings.Contains(a.body, handlerBody) {
		e.Errorf("the answer has the handler's body: %q", oneLine(a.body))
	}
}

// wantOK fails the test if the answer is not the handler's.
func (e *env) wantOK(a answer) {
	e.Helper()
	if a.status != http.StatusOK || a.body != handlerBody {
		e.Errorf("answer %d %q, want the handler's", a.status, oneLine(a.body))
	}
}

// inFlight is a request whose handler waits between the loading of its session
// and the commit.
type inFlight struct {
	release func()
	done    chan answer
}

// begin sends a request and returns when its handler has called fn and waits.
//
//sourcetest:goroutine
func (b *browser) begin(fn func(ctx context.Context)) *inFlight {
	b.Helper()
	parked, release, done := make(chan struct{}), make(chan struct{}), make(chan answer, 1)
	f := &inFlight{release: sync.OnceFunc(func() { close(release) }), done: done}
	b.Cleanup(f.release) // before the server closes, which waits for its requests
	go func() {
		a, err := b.request(context.WithoutCancel(b.Context()), func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set(answerHeader, "set")
			fn(r.Context())
			close(parked)
			<-release
			io.WriteString(w, handlerBody)
		})
		if err != nil {
			b.Errorf("request in flight: %v", err)
		}
		done <- a
	}()
	select {
	case <-parked:
	case a := <-done:
		b.Fatalf("the request in flight was answered before its handler: %d %s", a.status, oneLine(a.body))
	}
	return f
}

// finish lets the handler go on.
func (f *inFlight) finish() answer {
	f.release()
	return <-f.done
}

// keyOf is the documented way from a token to the key of the Store.
func keyOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// want fails the test if err is not target.
func (e *env) want(err, target error) {
	e.Helper()
	if !errors.Is(err, target) {
		e.Errorf("error %v, want %v", err, target)
	}
}
