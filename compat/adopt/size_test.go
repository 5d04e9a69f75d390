package adopt_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/postgresstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/compat/internal/opendb"
	"github.com/seed-296ca7ab/usersession/internal/depth"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
	"github.com/seed-296ca7ab/usersession/redisstore"
)

const processEnv = "USERSESSION_TEST_ADOPTALL"

// place says to another process where the sessions are, and after how many of them it
// is to be killed; 0 if not at all.
type place struct {
	DSN, Redis string
	KillAfter  int64
}

const sizePrefix = "scs:session:"

// open opens the store of plain scs, and what is Options.Store.
func (p place) open(t *testing.T, db *sqlx.DB) (scs.Store, usersession.Store, *redis.Client) {
	t.Helper()
	if p.Redis == "" {
		return postgresstore.NewWithCleanupInterval(db.DB, 0), nil, nil
	}
	client := redis.NewClient(&redis.Options{Addr: p.Redis, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	store, err := redisstore.New(client, &redisstore.Options{Prefix: sizePrefix})
	if err != nil {
		t.Fatal(err)
	}
	return goredisstore.NewWithPrefix(client, sizePrefix), store, client
}

// TestAdoptAllProcess is the process that TestAdoptAtSize kills.
func TestAdoptAllProcess(t *testing.T) {
	text := os.Getenv(processEnv)
	if text == "" {
		t.Skip("run by TestAdoptAtSize")
	}
	var p place
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, db: opendb.Connect(t, "postgres", p.DSN), adopted: &atomic.Int64{}}
	s.scs, s.store, _ = p.open(t, s.db)
	report := func(r usersession.AdoptResult) {
		b, err := json.Marshal(r)
		if err != nil {
			t.Error(err)
		}
		fmt.Printf("progress %s\n", b)
	}
	var asked atomic.Int64
	s.startNew(func(o *usersession.Options) {
		o.Adopt.Progress = report
		o.Adopt.UserID = func(values map[string]any) string {
			if asked.Add(1) == p.KillAfter { // in the middle of a session
				me, err := os.FindProcess(os.Getpid())
				if err == nil {
					err = me.Kill()
				}
				t.Error(err)
			}
			return userID(values)
		}
	})
	if _, err := s.m.AdoptAll(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// adoptAll runs AdoptAll in a process of its own, and returns the last of what that has
// told.
func (p place) adoptAll(t *testing.T) (last usersession.AdoptResult) {
	t.Helper()
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAdoptAllProcess$", "-test.timeout=1h")
	cmd.Env = append(os.Environ(), processEnv+"="+string(text))
	began := time.Now()
	out, err := cmd.Output()
	took := time.Since(began)
	if killed := p.KillAfter > 0; (err == nil) == killed {
		t.Errorf("the process ends with %v, killed: %v\n%s", err, killed, out)
	}
	for line := range strings.Lines(string(out)) {
		if text, ok := strings.CutPrefix(line, "progress "); ok {
			if err := json.Unmarshal([]byte(text), &last); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("AdoptAll, killed after %d: %+v in %v, %.0f keys/s", p.KillAfter, last, took.Round(100*time.Millisecond), float64(last.Adopted+last.Before+last.Anonymous+last.Ended)/took.Seconds())
	return last
}

// sizeToken is the token of a user's session of plain scs.
func sizeToken(user int) string {
	sum := sha256.Sum256([]byte(fmt.Sprint("token ", user)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// sizeData makes the sessions of plain scs, that of each user.
func sizeData(t *testing.T, db *sqlx.DB, client *redis.Client, users int) {
	t.Helper()
	deadline := time.Now().Add(11 * time.Hour).UTC()
	for from := 1; from <= users; from += 5000 {
		var toks []string
		var all [][]byte
		for user := from; user < min(from+5000, users+1); user++ {
			data, err := scs.GobCodec{}.Encode(deadline, map[string]any{"userID": user, "cart": ""})
			if err != nil {
				t.Fatal(err)
			}
			toks, all = append(toks, sizeToken(user)), append(all, data)
		}
		if client == nil {
			if _, err := db.ExecContext(t.Context(), "INSERT INTO sessions SELECT token, data, $3 FROM unnest($1::text[], $2::bytea[]) AS s(token, data)", pq.Array(toks), pq.Array(all), deadline); err != nil {
				t.Fatal(err)
			}
			continue
		}
		pipe := client.Pipeline()
		for i, tok := range toks {
			pipe.Set(t.Context(), sizePrefix+tok, all[i], time.Until(deadline))
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAdoptAtSize adopts many live sessions of plain scs, while old and new replicas
// serve them and some users are revoked. The process of AdoptAll is killed half-way, and
// another one goes on. In the end nobody is logged out, listed twice or not at all, or
// back again, and neither is after the roll-back to plain scs. The number of sessions is
// that of USERSESSION_TEST_SESSIONS.
func TestAdoptAtSize(t *testing.T) {
	depth.OnlyFull(t)
	users := 200
	if s := os.Getenv("USERSESSION_TEST_SESSIONS"); s != "" {
		var err error
		if users, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"PostgreSQL", "Redis"} {
		t.Run(name, func(t *testing.T) { adoptAtSize(t, name, users) })
	}
}

func adoptAtSize(t *testing.T, name string, users int) {
	p := place{DSN: opendb.FreshPostgres(t, "postgres")}
	if name == "Redis" {
		p.Redis = testserver.OwnRedis(t).Addr
	}
	s := &site{T: t, db: opendb.Connect(t, "postgres", p.DSN), adopted: &atomic.Int64{}}
	s.db.SetMaxOpenConns(20)
	var client *redis.Client
	s.scs, s.store, client = p.open(t, s.db)
	opendb.MustExec(t, s.db, "CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)")
	sizeData(t, s.db, client, users)
	s.startOld()
	s.startNew()
	replicas := []http.Handler{s.old, s.new}
	revoked := func(user int) bool { return user%50 == 0 }

	load, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var requests, over atomic.Int64
	pause := 5 * time.Millisecond
	if users > 1000 {
		pause *= 4 // who adopts so many is to have most of the machine, as on a site that is not overloaded
	}
	for range 4 {
		wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ; load.Err() == nil; <-tick.C {
				user := 1 + rand.IntN(users)
				if revoked(user) {
					continue
				}
				path := "/"
				if rand.IntN(4) == 0 {
					path = "/put?cart=1"
				}
				b := &browser{sizeToken(user)}
				if got := b.get(replicas[rand.IntN(2)], path); !strings.HasPrefix(got, strconv.Itoa(user)+" ") {
					t.Errorf("user %d is logged out: %q", user, got)
				}
				requests.Add(1)
			}
		})
	}
	half := make(chan struct{})
	wg.Go(func() {
		for user := 50; user <= users; user += 50 {
			if user > users/2 {
				<-half // of the sessions some are adopted, and some are not
			}
			n, err := s.m.RevokeAllSessions(t.Context(), strconv.Itoa(user))
			if n > 1 || err != nil {
				t.Errorf("RevokeAllSessions of user %d: %d, %v", user, n, err)
			}
			over.Add(1 - int64(n)) // its session was not adopted yet, and is refused
		}
	})
	p.KillAfter = int64(users / 2)
	p.adoptAll(t)
	close(half)
	p.KillAfter = 0
	second := p.adoptAll(t)
	stop()
	wg.Wait()
	t.Logf("%d requests served meanwhile, %d of %d revoked before they were adopted", requests.Load(), over.Load(), users/50)

	live := users - users/50
	last, err := s.m.AdoptAll(t.Context())
	if err != nil || last.Adopted != 0 || last.Before != live || last.Anonymous != 0 || last.Ended != 0 || last.Unreadable != 0 || second.Unreadable != 0 {
		t.Errorf("AdoptAll has something left to do: %+v, %v, before %+v", last, err, second)
	}
	if n, err := s.m.CountMatching(t.Context(), usersession.Filter{Everyone: true}, 0); n != live || err != nil {
		t.Errorf("%d sessions are listed, %v, want %d", n, err, live)
	}
	// The roll-back: nothing but plain scs serves now. Before it, the new program.
	for _, h := range []http.Handler{s.new, s.old} {
		out, back := 0, 0
		for user := 1; user <= users; user++ {
			b := &browser{sizeToken(user)}
			got := b.get(h, "/")
			switch served := strings.HasPrefix(got, strconv.Itoa(user)+" "); {
			case served && revoked(user):
				back++
			case !served && !revoked(user):
				out++
			}
		}
		if t.Logf("%d of %d users are logged out, %d of %d revoked are served", out, live, back, users/50); out > 0 || back > 0 {
			t.Errorf("%d users are logged out, %d are back", out, back)
		}
	}
}
