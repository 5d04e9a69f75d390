package system

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	cookieName = "session"
	// userPrefix starts every user ID, so that data of a user can be told from
	// those of nobody.
	userPrefix = "history-user-"
	// clientTimeout is longer than whatever the replicas may wait for.
	clientTimeout = 4 * time.Second

	mostSessions   = 10 // of a user: the model has one bit for each
	mostOperations = 70
	devices        = 3 // clients of one user at once
)

// clients are the browsers of one world.
type clients struct {
	w       *world
	http    *http.Client
	cancels atomic.Bool // requests are cancelled now
	lastID  atomic.Int64
	label   atomic.Int64

	mu     sync.Mutex
	tokens []string // every one there was
}

func newClients(w *world) *clients {
	return &clients{w: w, http: &http.Client{
		Timeout:       clientTimeout,
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is an answer as far as it was understood.
type reply struct {
	status int // 0: none
	header http.Header
	body   []byte
	cut    bool // the body is not whole
	cookie string
}

// do sends a request to a replica, through its proxy.
func (c *clients) do(rng *rand.Rand, replica int, method, path string, form url.Values, token string, hold time.Duration) reply {
	ctx := context.Background()
	if c.cancels.Load() && rng.IntN(3) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(25_000))*time.Microsecond)
		defer cancel()
	}
	form.Set("hold", strconv.Itoa(int(hold.Milliseconds())))
	// Parameters in the URL, also of a POST: nothing is left to be read.
	target := "http://" + c.w.replicas[replica].http.proxy.Listen + path + "?" + form.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		c.w.t.Error(err)
		return reply{}
	}
	if token != "" {
		request.AddCookie(&http.Cookie{Name: cookieName, Value: token})
	}
	response, err := c.http.Do(request)
	if err != nil {
		return reply{}
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	r := reply{status: response.StatusCode, header: response.Header, body: body, cut: err != nil}
	for _, cookie := range response.Cookies() {
		if cookie.Name == cookieName {
			r.cookie = cookie.Value
			if cookie.MaxAge < 0 {
				r.cookie = "cleared"
			}
		}
	}
	return r
}

// newUser returns a user nobody has used.
func (c *clients) newUser() *user {
	return &user{id: fmt.Sprintf("%s%d", userPrefix, c.lastID.Add(1))}
}

// live sends the requests of a user, from several devices at once, until there
// are enough or ctx ends.
func (c *clients) live(ctx context.Context, u *user, rng *rand.Rand) {
	var wait sync.WaitGroup
	for range devices {
		seed1, seed2 := rng.Uint64(), rng.Uint64()
		wait.Go(func() {
			rng := rand.New(rand.NewPCG(seed1, seed2))
			for ctx.Err() == nil {
				u.mu.Lock()
				enough := len(u.operations) >= mostOperations
				u.mu.Unlock()
				if enough {
					return
				}
				if c.one(u, rng) == 0 { // do not spend the operations on a replica that is gone
					pause(ctx, 20*time.Millisecond)
				}
			}
		})
	}
	wait.Wait()
}

// one sends one request and returns its status.
func (c *clients) one(u *user, rng *rand.Rand) int {
	replica := rng.IntN(len(c.w.replicas))
	u.mu.Lock()
	alive := -1
	for _, i := range rng.Perm(len(u.sessions)) {
		if !u.sessions[i].ended {
			alive = i
		}
	}
	any := -1
	if n := len(u.sessions); n > 0 {
		any = rng.IntN(n)
	}
	n := len(u.sessions)
	u.mu.Unlock()

	dice := rng.IntN(100)
	if c.w.remembers() && alive >= 0 && rng.IntN(10) < 8 {
		dice = 39 // what most requests of most sites are
	}
	if alive < 0 || dice < 8 {
		if n < mostSessions {
			return c.login(u, rng, replica)
		}
		if alive < 0 {
			alive = any
		}
	}
	i := alive
	if rng.IntN(4) == 0 {
		i = any // perhaps one that has ended
	}
	hold := time.Duration(0)
	if rng.IntN(2) == 0 {
		hold = time.Duration(rng.IntN(20)) * time.Millisecond
	}
	switch {
	case dice < 40:
		return c.own(u, rng, replica, read, i, hold)
	case dice < 62:
		return c.own(u, rng, replica, write, i, hold)
	case dice < 72:
		return c.list(u, rng, replica)
	case dice < 80:
		return c.own(u, rng, replica, renew, i, hold)
	case dice < 85:
		return c.own(u, rng, replica, logout, i, hold)
	case dice < 93:
		return c.revoke(u, rng, replica, i)
	case dice < 97:
		return c.own(u, rng, replica, others, i, hold)
	}
	return c.revokeAll(u, rng, replica)
}

func (c *clients) login(u *user, rng *rand.Rand, replica int) int {
	o := operation{kind: login, session: -1, call: now()}
	label := fmt.Sprintf("label-%d", c.label.Add(1))
	r := c.do(rng, replica, "POST", "/login", url.Values{"user": {u.id}, "label": {label}}, "", 0)
	o.ret, o.status = now(), r.status
	if r.status == 200 {
		if r.cookie == "" || r.cookie == "cleared" {
			u.violation("a login was answered 200 without a cookie")
			o.status = 0
		} else {
			c.keep(r.cookie)
		}
	} else if r.cookie != "" {
		u.violation("a login was answered %d with a cookie", r.status)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if o.status == 200 {
		o.session = len(u.sessions)
		u.sessions = append(u.sessions, &session{label: label, tokens: []string{r.cookie}})
	}
	u.operations = append(u.operations, o)
	return o.status
}

func (c *clients) keep(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tokens = append(c.tokens, token)
}

// own is a request with the cookie of a session: most often the newest one.
func (c *clients) own(u *user, rng *rand.Rand, replica int, k kind, i int, hold time.Duration) int {
	u.mu.Lock()
	s := u.sessions[i]
	o := operation{kind: k, session: i, token: len(s.tokens) - 1}
	if rng.IntN(5) == 0 {
		o.token = rng.IntN(len(s.tokens))
	}
	if k == logout {
		s.ended = true
	}
	if k == others {
		for j := range u.sessions {
			u.sessions[j].ended = u.sessions[j].ended || j != i
		}
	}
	token := s.tokens[o.token]
	u.mu.Unlock()

	path, form := "/"+string(k), url.Values{}
	method := "POST"
	switch k {
	case read:
		method, path = "GET", "/whoami"
	case write:
		form.Set("value", strconv.Itoa(rng.IntN(1000)))
	case renew:
		if rng.IntN(2) == 0 {
			form.Set("again", "yes")
		}
	case others:
		path = "/others"
	}
	label := s.label
	if c.w.remembers() && (k == read || k == logout || k == others) && rng.IntN(10) > 0 {
		form.Set("who", "only")
		label = ""
	}
	o.call = now()
	r := c.do(rng, replica, method, path, form, token, hold)
	o.ret, o.status = now(), r.status
	o.memory = c.w.remembers() && r.header.Get("X-Memory") != ""
	if k == others && r.status != 0 {
		o.count, _ = strconv.Atoi(r.header.Get("X-Count"))
	}
	switch {
	case r.status == 200 && (r.header.Get("X-User") != u.id || r.header.Get("X-Label") != label):
		u.violation("the token of %s of %s was served %s of %s", s.label, u.id, r.header.Get("X-Label"), r.header.Get("X-User"))
	case k == renew && r.status == 200:
		if r.cookie == "" || r.cookie == "cleared" {
			u.violation("a renewal was answered 200 without a cookie")
			o.status = 0
			break
		}
		c.keep(r.cookie)
		u.mu.Lock()
		o.to = len(s.tokens)
		s.tokens = append(s.tokens, r.cookie)
		u.mu.Unlock()
	case k == logout && (r.cookie == "cleared" || r.cookie == ""):
	case r.cookie != "" && c.w.store != "control":
		u.violation("%s was answered %d with a cookie", k, r.status)
	}
	u.note(o)
	return o.status
}

func (c *clients) revoke(u *user, rng *rand.Rand, replica int, i int) int {
	u.mu.Lock()
	s := u.sessions[i]
	id := s.id
	if c.w.store == "control" {
		id = s.label
	}
	if id != "" {
		s.ended = true
	}
	u.mu.Unlock()
	if id == "" {
		return c.list(u, rng, replica) // the ID comes from there
	}
	o := operation{kind: revoke, session: i, call: now()}
	r := c.do(rng, replica, "POST", "/revoke", url.Values{"user": {u.id}, "id": {id}, "label": {s.label}}, "", 0)
	o.ret, o.status = now(), r.status
	u.note(o)
	return o.status
}

func (c *clients) revokeAll(u *user, rng *rand.Rand, replica int) int {
	u.mu.Lock()
	for _, s := range u.sessions {
		s.ended = true
	}
	u.mu.Unlock()
	o := operation{kind: all, session: -1, call: now()}
	r := c.do(rng, replica, "POST", "/all", url.Values{"user": {u.id}}, "", 0)
	o.ret, o.status = now(), r.status
	o.count, _ = strconv.Atoi(r.header.Get("X-Count"))
	u.note(o)
	return o.status
}

func (c *clients) list(u *user, rng *rand.Rand, replica int) int {
	o := operation{kind: list, session: -1, call: now()}
	r := c.do(rng, replica, "GET", "/list", url.Values{"user": {u.id}}, "", 0)
	o.ret, o.status = now(), r.status
	var listed []struct{ ID, Label string }
	if r.status == 200 {
		if err := json.Unmarshal(r.body, &listed); r.cut || err != nil {
			o.status = 0
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range listed {
		o.listed = append(o.listed, l.Label)
		if i := slices.IndexFunc(u.sessions, func(s *session) bool { return s.label == l.Label }); i >= 0 {
			u.sessions[i].id = l.ID
		}
	}
	slices.Sort(o.listed)
	if o.status == 200 && len(slices.Compact(slices.Clone(o.listed))) != len(o.listed) {
		u.violations = append(u.violations, "a list shows a session twice: "+strings.Join(o.listed, " "))
	}
	u.operations = append(u.operations, o)
	return o.status
}

// look reads every token of the user and the list, after everything is healed:
// these have certain answers.
func (c *clients) look(u *user, rng *rand.Rand) {
	for i, s := range u.sessions {
		for token := range s.tokens {
			o := operation{kind: read, session: i, token: token, call: now()}
			r := c.do(rng, rng.IntN(len(c.w.replicas)), "GET", "/whoami", url.Values{}, s.tokens[token], 0)
			o.ret, o.status = now(), r.status
			if r.status == 200 && (r.header.Get("X-User") != u.id || r.header.Get("X-Label") != s.label) {
				u.violation("the token of %s was served %s", s.label, r.header.Get("X-Label"))
			}
			u.note(o)
		}
	}
	c.list(u, rng, rng.IntN(len(c.w.replicas)))
}
