package redisstore_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/seed-296ca7ab/usersession"

	"github.com/seed-296ca7ab/usersession/internal/depth"
)

// newManager returns a Manager whose sessions are in store and whose index is in
// a new SQLite database.
func newManager(t *testing.T, store usersession.Store, configure ...func(*usersession.Options)) (*usersession.Manager, *sqlx.DB) {
	t.Helper()
	db := sqlx.MustConnect("sqlite", "file:"+filepath.Join(t.TempDir(), "index.db")+"?_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	t.Cleanup(func() { _ = db.Close() })
	opts := &usersession.Options{Store: store}
	for _, f := range configure {
		f(opts)
	}
	m, err := usersession.New(db, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m, db
}

func verified(o *usersession.Options) { o.VerifyEveryRequest = true }

// login logs a user in and returns the token.
func login(ctx context.Context, m *usersession.Manager, user string) (token string, err error) {
	if ctx, err = m.Load(ctx, ""); err != nil {
		return "", err
	}
	if err := m.Login(ctx, user); err != nil {
		return "", err
	}
	token, _, err = m.Commit(ctx)
	return token, err
}

func loginMany(t *testing.T, m *usersession.Manager, user func(i int) string, n int) []string {
	t.Helper()
	tokens := make([]string, n)
	for i := range tokens {
		var err error
		if tokens[i], err = login(t.Context(), m, user(i)); err != nil {
			t.Fatal(err)
		}
	}
	return tokens
}

// served returns the user whom a token is served as, or "".
func served(ctx context.Context, m *usersession.Manager, token string) (string, error) {
	ctx, err := m.Load(ctx, token)
	if err != nil {
		return "", err
	}
	return m.UserID(ctx), nil
}

// countServed returns how many tokens are served, once everything works.
func countServed(t *testing.T, m *usersession.Manager, tokens []string) int {
	t.Helper()
	n := 0
	for _, token := range tokens {
		user, err := served(t.Context(), m, token)
		if err != nil {
			t.Fatalf("Load, when all is over: %v", err)
		}
		if user != "" {
			n++
		}
	}
	return n
}

// sessionLoad logs users in, lets requests change data, and revokes, until it is
// finished. It knows which tokens must be served and which must not.
type sessionLoad struct {
	m      *usersession.Manager
	over   atomic.Bool
	rounds atomic.Int64
	back   atomic.Int64 // how often a revoked session was served
	done   sync.WaitGroup

	mu      sync.Mutex
	live    map[string]string // user by token
	revoked []string          // tokens of acknowledged revocations
	failed  int
	err     error // one of the errors
}

func startSessions(t *testing.T, m *usersession.Manager) *sessionLoad {
	t.Helper()
	l := &sessionLoad{m: m, live: make(map[string]string)}
	// Not as fast as it can: all of it is checked in the end.
	pace := time.NewTicker(4 * time.Millisecond)
	t.Cleanup(pace.Stop)
	for range 3 {
		l.done.Go(func() {
			for ; !l.over.Load(); <-pace.C {
				if err := l.round(t.Context()); err != nil {
					l.mu.Lock()
					l.failed++
					l.err = err
					l.mu.Unlock()
				}
				l.rounds.Add(1)
			}
		})
	}
	// The browsers of revoked sessions go on asking.
	l.done.Go(func() {
		for ; !l.over.Load(); <-pace.C {
			l.mu.Lock()
			token := ""
			if n := len(l.revoked); n > 0 {
				token = l.revoked[mathrand.N(n)]
			}
			l.mu.Unlock()
			if user, err := served(t.Context(), m, token); err == nil && user != "" {
				l.back.Add(1)
			}
		}
	})
	t.Cleanup(func() { l.over.Store(true); l.done.Wait() })
	l.more()
	return l
}

// more waits until the load has done a good deal more.
func (l *sessionLoad) more() {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := l.rounds.Load() + 50; l.rounds.Load() < end && !l.over.Load(); {
		<-poll.C
	}
}

// round is one user: some logins, and perhaps the end of all of them while a
// request of each is in flight.
func (l *sessionLoad) round(ctx context.Context) error {
	user := rand.Text()
	tokens := make([]string, 1+mathrand.N(4))
	for i := range tokens {
		var err error
		if tokens[i], err = login(ctx, l.m, user); err != nil {
			return err // nobody has been told of this user's sessions
		}
	}
	if mathrand.N(2) == 0 {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, token := range tokens {
			l.live[token] = user
		}
		return nil
	}
	var inFlight sync.WaitGroup
	for _, token := range tokens {
		inFlight.Go(func() {
			if ctx, err := l.m.Load(ctx, token); err == nil {
				l.m.Put(ctx, "cart", 1)
				_, _, _ = l.m.Commit(ctx)
			}
		})
	}
	_, err := l.m.RevokeAllSessions(ctx, user)
	if err == nil {
		for _, token := range tokens {
			if user, err := served(ctx, l.m, token); err == nil && user != "" {
				l.back.Add(1)
			}
		}
	}
	inFlight.Wait()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = append(l.revoked, tokens...)
	return nil
}

// finish stops the load. It returns how many sessions are lost, and how often one
// was served that had been revoked, afterwards included.
func (l *sessionLoad) finish(t *testing.T) (lost, back int) {
	t.Helper()
	l.over.Store(true)
	l.done.Wait()
	if len(l.live) == 0 || len(l.revoked) == 0 {
		t.Error("the load has done nothing")
	}
	for token, user := range l.live {
		got, err := served(t.Context(), l.m, token)
		if err != nil {
			t.Fatalf("Load, when all is over: %v", err)
		}
		if got != user {
			lost++
		}
	}
	back = int(l.back.Load()) + countServed(t, l.m, l.revoked)
	t.Logf("%d sessions kept, %d revoked, %d rounds failed; %d lost, %d times a revoked one was served (the last error: %v)",
		len(l.live), len(l.revoked), l.failed, lost, back, l.err)
	return lost, back
}

// managed is a load without VerifyEveryRequest and one with it.
type managed struct{ plain, verified *sessionLoad }

func startManaged(t *testing.T, store func() usersession.Store) managed {
	t.Helper()
	plain, _ := newManager(t, store())
	careful, _ := newManager(t, store(), verified)
	return managed{startSessions(t, plain), startSessions(t, careful)}
}

// stop lets both do a good deal more and then stops them.
func (l managed) stop() {
	for _, load := range []*sessionLoad{l.plain, l.verified} {
		load.more()
		load.over.Store(true)
	}
}

// finishPlanned wants nothing lost and nothing back: Redis hands over what it
// has.
func (l managed) finishPlanned(t *testing.T) {
	t.Helper()
	l.stop()
	for _, load := range []*sessionLoad{l.plain, l.verified} {
		if lost, back := load.finish(t); lost > 0 || back > 0 {
			t.Errorf("%d sessions are lost, %d times a revoked one was served", lost, back)
		}
	}
}

// finishUnplanned allows what asynchronous replication may forget, and not that
// a revoked session is served where every request is verified.
func (l managed) finishUnplanned(t *testing.T) {
	t.Helper()
	l.stop()
	l.plain.finish(t)
	if _, back := l.verified.finish(t); back > 0 {
		t.Errorf("%d times a revoked session was served, with VerifyEveryRequest", back)
	}
}

// revokeAllIsOneRoundTrip revokes 50 sessions, a page on SQLite, of one user, whose keys
// lie in slots all over.
func revokeAllIsOneRoundTrip(t *testing.T, addrs []string) {
	client, hook, counting := countedCluster(t, addrs)
	store := newStore(t, client)
	m, _ := newManager(t, store, func(o *usersession.Options) { o.MaxSessions = usersession.NoMaxSessions })
	// The first use of each node opens connections, for pipelines as well.
	loginMany(t, m, func(int) string { return "bob" }, 100)
	if n, err := m.RevokeAllSessions(t.Context(), "bob"); n != 100 || err != nil {
		t.Fatalf("RevokeAllSessions: %d, %v; want 100", n, err)
	}
	tokens := loginMany(t, m, func(int) string { return "alice" }, 50)
	other := loginMany(t, m, func(int) string { return "carol" }, 1)
	slots := make(map[int64]bool)
	for _, key := range allKeys(t, store) {
		slot, err := client.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		slots[slot] = true
	}
	if len(slots) < 45 {
		t.Errorf("the keys are in %d slots, want nearly as many as keys", len(slots))
	}
	hook.reset()
	counting.reset()
	if n, err := m.RevokeAllSessions(t.Context(), "alice"); n != 50 || err != nil {
		t.Errorf("RevokeAllSessions: %d, %v; want 50", n, err)
	}
	trips, writes := hook.list(), counting.reset()
	if total := commandsIn(trips); len(trips) != 3 || total != 50 {
		t.Errorf("round trips %q, want 3 pipelines of 50 commands together", trips)
	}
	for addr, n := range writes {
		if n != 1 {
			t.Errorf("%d writes to %s, want 1", n, addr)
		}
	}
	t.Logf("revoking 50 sessions in %d slots: %q", len(slots), trips)
	if n := countServed(t, m, tokens); n > 0 {
		t.Errorf("%d are served", n)
	}
	if n := countServed(t, m, other); n != 1 {
		t.Error("somebody else's is not served")
	}
}

// commandsIn returns how many commands the pipelines of a recorder had.
func commandsIn(trips []string) int {
	total := 0
	for _, trip := range trips {
		var n int
		if _, err := fmt.Sscanf(trip, "pipeline of %d", &n); err == nil {
			total += n
		}
	}
	return total
}

// failoverForgets shows the worst that a failover can do: the replica that takes
// over has got none of the deletions. It stands still while sessions are revoked,
// and then the primary dies.
func failoverForgets(t *testing.T, s shard, newStore func() usersession.Store, settled func(ctx context.Context) error) {
	const users = 60
	name := func(i int) string { return fmt.Sprint("user", i) }
	plain, db := newManager(t, newStore())
	careful, _ := newManager(t, newStore(), verified)
	managers := []*usersession.Manager{plain, careful}
	tokens := map[*usersession.Manager][]string{}
	for _, m := range managers {
		tokens[m] = loginMany(t, m, name, users)
	}
	eventually(t, "the replicas have got the logins", settled)
	// What is on its way to a server that stands still arrives in the end, so the
	// connection has to go, too.
	s.replica.freeze(t)
	noError(t, "CLIENT KILL", newClient(t, s.primary.addr).ClientKillByFilter(t.Context(), "TYPE", "replica").Err())
	for _, m := range managers {
		for i := range users {
			if n, err := m.RevokeAllSessions(t.Context(), name(i)); n != 1 || err != nil {
				t.Fatalf("RevokeAllSessions: %d, %v; want 1", n, err)
			}
		}
		if n := countServed(t, m, tokens[m]); n > 0 {
			t.Errorf("%d are served before the failover", n)
		}
	}
	s.primary.stop()
	s.replica.thaw(t)
	eventually(t, "the replica takes over", func(ctx context.Context) error {
		for _, m := range managers {
			for _, token := range tokens[m] {
				if _, err := served(ctx, m, token); err != nil {
					return err
				}
			}
		}
		return nil
	})
	back := countServed(t, plain, tokens[plain])
	t.Logf("of %d revoked sessions %d are served after a failover to a replica that had got none of the deletions; with VerifyEveryRequest %d",
		users, back, countServed(t, careful, tokens[careful]))
	if back == 0 {
		t.Error("the failover has forgotten nothing, so nothing was shown")
	}
	if n := countServed(t, careful, tokens[careful]); n > 0 {
		t.Errorf("%d revoked sessions are served, with VerifyEveryRequest", n)
	}
	// A minute after the revocations the janitor deletes once more.
	if _, err := db.ExecContext(t.Context(), "UPDATE user_sessions SET ended_at = ended_at - 60000000, purge_at = purge_at - 60000000"); err != nil {
		t.Fatal(err)
	}
	if res, err := plain.Prune(t.Context()); res.Redeleted != users || err != nil {
		t.Errorf("Prune: %+v, %v; want %d deleted again", res, err, users)
	}
	if n := countServed(t, plain, tokens[plain]); n > 0 {
		t.Errorf("%d revoked sessions are served after the janitor's second delete", n)
	}
}

// TestRedisTurnsBad breaks a Redis under a Manager that has sessions there.
func TestRedisTurnsBad(t *testing.T) {
	depth.OnlyFull(t)
	for _, tc := range []struct {
		name            string
		breakIt, mendIt [][]any
		text            string // of the errors
		reads           bool   // go on
		revocation      error
	}{
		{"a replica", [][]any{{"REPLICAOF", "127.0.0.1", "1"}}, [][]any{{"REPLICAOF", "NO", "ONE"}},
			"replica", false, usersession.ErrRevocationPending},
		{"full", [][]any{{"CONFIG", "SET", "maxmemory", "1"}}, [][]any{{"CONFIG", "SET", "maxmemory", "0"}},
			"full", true, nil},
		// Connections that are there would stay.
		{"another password", [][]any{{"CONFIG", "SET", "requirepass", "new"}, {"CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"}},
			[][]any{{"CONFIG", "SET", "requirepass", ""}},
			"refuses the user name or the password", false, usersession.ErrRevocationPending},
		{"restarts", nil, nil, "connection refused", false, usersession.ErrRevocationPending},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := startServer(t, "--maxmemory-policy", "noeviction", "--appendonly", "yes", "--appendfsync", "always")
			admin, client := newClient(t, server.addr), newClient(t, server.addr)
			do := func(commands [][]any) {
				for _, args := range commands {
					noError(t, fmt.Sprint(args), admin.Do(t.Context(), args...).Err())
				}
			}
			store := newStore(t, client)
			m, _ := newManager(t, store)
			kept := loginMany(t, m, func(int) string { return "alice" }, 2)
			ended := loginMany(t, m, func(int) string { return "bob" }, 2)
			ctx, err := m.Load(t.Context(), kept[0])
			noError(t, "Load", err)
			m.Put(ctx, "cart", "old")
			_, _, err = m.Commit(ctx)
			noError(t, "Commit", err)
			ctx, err = m.Load(t.Context(), kept[0]) // a request that is in flight
			noError(t, "Load", err)

			if do(tc.breakIt); tc.breakIt == nil {
				server.stop()
			}
			m.Put(ctx, "cart", "new")
			_, _, err = m.Commit(ctx)
			wantError(t, "Commit", err, tc.text)
			_, err = login(t.Context(), m, "carol")
			wantError(t, "a login", err, tc.text)
			if list, err := m.ListSessions(t.Context(), "carol"); len(list) > 0 || err != nil {
				t.Errorf("%d sessions of a login that failed are listed, %v", len(list), err)
			}
			user, err := served(t.Context(), m, kept[0])
			if tc.reads && (user != "alice" || err != nil) {
				t.Errorf("a read: %q, %v; want alice", user, err)
			} else if !tc.reads {
				wantError(t, "a read", err, tc.text)
			}
			if n, err := m.RevokeAllSessions(t.Context(), "bob"); n != 2 || !errors.Is(err, tc.revocation) {
				t.Errorf("a revocation: %d, %v; want 2, %v", n, err, tc.revocation)
			}
			if list, err := m.ListSessions(t.Context(), "bob"); len(list) > 0 || err != nil {
				t.Errorf("%d sessions are listed after their revocation, %v", len(list), err)
			}

			if do(tc.mendIt); tc.mendIt == nil {
				if server.run(t); !server.answers(t) {
					t.Fatal("redis-server has ended")
				}
			}
			if n, err := m.RevokeAllSessions(t.Context(), "bob"); err != nil {
				t.Errorf("a revocation once all is well: %d, %v", n, err)
			}
			if n := countServed(t, m, ended); n > 0 {
				t.Errorf("%d revoked sessions are served", n)
			}
			if n := countServed(t, m, kept); n != 2 {
				t.Errorf("%d sessions are served, want the 2 that were there", n)
			}
			if ctx, err = m.Load(t.Context(), kept[0]); err != nil || m.GetString(ctx, "cart") != "old" {
				t.Errorf("the data are %q, %v; want the old", m.GetString(ctx, "cart"), err)
			}
			if keys := allKeys(t, store); len(keys) != 2 {
				t.Errorf("%d keys, want 2: something is half-written", len(keys))
			}
		})
	}
}

// TestClusterClientUnderAManager wants no trace of a login on a server that is no
// Cluster.
func TestClusterClientUnderAManager(t *testing.T) {
	depth.OnlyFull(t)
	server := startServer(t)
	m, _ := newManager(t, newStore(t, newClusterClient(t, []string{server.addr}, nil)))
	_, err := login(t.Context(), m, "alice")
	wantError(t, "a login", err, "use redis.NewClient")
	if list, err := m.ListSessions(t.Context(), "alice"); len(list) > 0 || err != nil {
		t.Errorf("%d sessions, %v; want none", len(list), err)
	}
	if n := newClient(t, server.addr).DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys, want none", n)
	}
}
