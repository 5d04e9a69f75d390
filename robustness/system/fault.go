package system

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// fault is something that breaks and is mended again.
type fault struct {
	name string
	// begin breaks it, for the replica i, and returns what mends it.
	begin func(w *world, i int) (end func())
	// not says why the fault cannot be there in a profile; "" if it can.
	not func(p profile) string
	// loses says that sessions are gone afterwards that nobody ended.
	loses bool
	// some says that it is some of them only.
	some bool
	// forgets says that for as long as a lease a session may be served that has ended.
	forgets bool
	// instead is what clients do to themselves while the fault is on.
	cancels bool
}

func needsRedis(p profile) string {
	if p.store == "sql" {
		return "no Redis"
	}
	return ""
}

// onLink is a fault of one link of one replica.
func onLink(name string, which func(r *replica) *link, not func(profile) string, hurt func(l *link)) fault {
	return fault{name: name, not: not, begin: func(w *world, i int) func() {
		l := which(w.replicas[i])
		hurt(l)
		return l.heal
	}}
}

func sqlLink(r *replica) *link   { return r.sql }
func storeLink(r *replica) *link { return r.store }
func httpLink(r *replica) *link  { return r.http }

// linkFaults are those of each kind of link.
func linkFaults(to string, which func(r *replica) *link, not func(profile) string) []fault {
	return []fault{
		onLink("cut: "+to, which, not, func(l *link) {
			l.hurt("upstream", "timeout", `"timeout": 0`)
			l.hurt("downstream", "timeout", `"timeout": 0`)
		}),
		onLink("applied, answer lost: "+to, which, not, func(l *link) {
			l.hurt("downstream", "timeout", `"timeout": 60`)
		}),
		onLink("applied, answer hangs: "+to, which, not, func(l *link) {
			l.hurt("downstream", "timeout", `"timeout": 0`)
		}),
		onLink("request lost: "+to, which, not, func(l *link) {
			l.hurt("upstream", "timeout", `"timeout": 60`)
		}),
		onLink("reset: "+to, which, not, func(l *link) {
			l.hurt("downstream", "reset_peer", `"timeout": 0`)
		}),
		onLink("delay: "+to, which, not, func(l *link) {
			l.hurt("downstream", "latency", `"latency": 60, "jitter": 50`)
		}),
		onLink("slow: "+to, which, not, func(l *link) {
			l.hurt("upstream", "bandwidth", `"rate": 2`)
			l.hurt("downstream", "bandwidth", `"rate": 2`)
		}),
	}
}

// faults is the fault table.
func faults() []fault {
	list := []fault{
		{name: "none", begin: func(*world, int) func() { return func() {} }},
		{name: "kill -9: program", begin: func(w *world, i int) func() {
			w.replicas[i].server.Kill()
			return func() { w.restart(w.replicas[i].server.Restart, "replica") }
		}},
		{name: "kill -9: PostgreSQL", begin: func(w *world, i int) func() {
			w.postgres.Kill()
			return func() { w.restart(w.postgres.Restart, "PostgreSQL") }
		}},
		{name: "kill -9: Redis", not: needsRedis, begin: func(w *world, i int) func() {
			w.redis.Kill()
			return func() { w.restart(w.redis.Restart, "Redis") }
		}},
		{name: "stopped: program", begin: func(w *world, i int) func() {
			w.replicas[i].server.Pause()
			return w.replicas[i].server.Resume
		}},
		{name: "stopped: PostgreSQL", begin: func(w *world, i int) func() {
			w.postgres.Pause()
			return w.postgres.Resume
		}},
		{name: "stopped: Redis", not: needsRedis, begin: func(w *world, i int) func() {
			w.redis.Pause()
			return w.redis.Resume
		}},
		{name: "statement timeout", begin: statementTimeout},
		{name: "pool exhausted", begin: func(w *world, i int) func() {
			go func() {
				request, err := http.NewRequest("POST", "http://"+w.replicas[i].server.Addr+"/hog?hold=900", nil)
				if err != nil {
					return
				}
				if response, err := http.DefaultClient.Do(request); err == nil {
					response.Body.Close()
				}
			}()
			return func() {}
		}},
		{name: "pg_terminate_backend", begin: func(w *world, i int) func() {
			w.terminate()
			return w.terminate
		}},
		{name: "FLUSHALL", not: needsRedis, loses: true, begin: func(w *world, i int) func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := w.keys.FlushAll(ctx).Err(); err != nil {
				w.t.Errorf("FLUSHALL: %v", err)
			}
			return func() {}
		}},
		{name: "clock an hour ahead", begin: wrongClock(time.Hour)},
		{name: "clock an hour behind", begin: wrongClock(-time.Hour)},
		{name: "cancelled by the client", cancels: true, begin: func(*world, int) func() { return func() {} }},
	}
	list = append(list, linkFaults("replica to PostgreSQL", sqlLink, nil)...)
	list = append(list, linkFaults("replica to Redis", storeLink, needsRedis)...)
	list = append(list,
		onLink("applied, answer lost: client to replica", httpLink, nil, func(l *link) {
			l.hurt("downstream", "timeout", `"timeout": 60`)
		}),
		onLink("request lost: client to replica", httpLink, nil, func(l *link) {
			l.hurt("upstream", "timeout", `"timeout": 60`)
		}),
	)
	return list
}

// leaseFaults are those of replicas that serve sessions from memory.
func leaseFaults() []fault {
	needsChannel := func(p profile) string {
		if !p.channel {
			return "no channel"
		}
		return ""
	}
	channelLink := func(r *replica) *link { return r.channel }
	return []fault{
		{name: "clock set an hour ahead", begin: stepClock(time.Hour)},
		{name: "clock set an hour back", begin: stepClock(-time.Hour)},
		onLink("cut: channel", channelLink, needsChannel, func(l *link) {
			l.hurt("upstream", "timeout", `"timeout": 0`)
			l.hurt("downstream", "timeout", `"timeout": 0`)
		}),
		onLink("messages lost: channel", channelLink, needsChannel, func(l *link) {
			l.hurt("downstream", "reset_peer", `"timeout": 0`)
		}),
		{name: "rows of the leases deleted", forgets: true, begin: func(w *world, _ int) func() {
			w.exec("DELETE FROM user_sessions_inbox")
			w.exec("DELETE FROM user_sessions_replicas")
			return func() {}
		}},
	}
}

// stepClock sets the wall clock of a replica while it runs, and back.
func stepClock(step time.Duration) func(w *world, i int) func() {
	set := func(w *world, i int, step time.Duration) {
		response, err := http.Post(fmt.Sprintf("http://%s/step?seconds=%d", w.replicas[i].server.Addr, int(step.Seconds())), "", nil)
		if err != nil {
			w.t.Errorf("the clock is not set: %v", err)
			return
		}
		if response.Body.Close(); response.StatusCode != http.StatusOK {
			w.t.Errorf("the clock is not set: %s", response.Status)
		}
	}
	return func(w *world, i int) func() {
		set(w, i, step)
		return func() { set(w, i, 0) }
	}
}

func (w *world) restart(restart func() error, what string) {
	if err := restart(); err != nil {
		w.t.Errorf("%s does not start again: %v", what, err)
	}
}

// terminate ends every connection of the replicas to PostgreSQL.
func (w *world) terminate() {
	w.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()")
}

// statementTimeout makes statements wait for a lock and PostgreSQL cancel them.
func statementTimeout(w *world, _ int) func() {
	w.exec("ALTER DATABASE postgres SET statement_timeout = '80ms'")
	w.terminate() // Only new connections have the setting.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tx, err := w.index.BeginTx(ctx, nil)
	if err == nil {
		_, err = tx.ExecContext(ctx, "LOCK TABLE user_sessions IN ACCESS EXCLUSIVE MODE")
	}
	if err != nil {
		w.t.Errorf("lock: %v", err)
	}
	return func() {
		defer cancel()
		if tx != nil {
			if err := tx.Rollback(); err != nil && err != sql.ErrTxDone {
				w.t.Errorf("unlock: %v", err)
			}
		}
		w.exec("ALTER DATABASE postgres RESET statement_timeout")
		w.terminate()
	}
}

// wrongClock restarts a replica with a clock that is wrong until the world is
// made right again; the other one goes on.
func wrongClock(shift time.Duration) func(w *world, i int) func() {
	set := func(w *world, i int, shift time.Duration) {
		r := w.replicas[i]
		r.server.Kill()
		r.clock = shift
		w.restart(r.server.Restart, fmt.Sprintf("replica with its clock %v ahead", shift))
	}
	return func(w *world, i int) func() {
		set(w, i, shift)
		return func() { set(w, i, 0) }
	}
}

// interval is a stretch of the driver's clock; open in to says that what it is
// about may also not have happened.
type interval struct{ from, to int64 }

// strike breaks things and mends them until ctx ends, at least once. It returns
// how often, when sessions were lost, and when sessions that had ended may have been served.
func (f fault) strike(ctx context.Context, w *world, rng *rand.Rand, length time.Duration) (strikes int, lost, forgot []interval) {
	for {
		i := rng.IntN(len(w.replicas))
		began := now()
		end := f.begin(w, i)
		if f.loses {
			over := now()
			if f.some {
				over = open
			}
			lost = append(lost, interval{began, over})
		}
		if f.forgets {
			forgot = append(forgot, interval{began, now() + w.lease.Nanoseconds()})
		}
		// Longer than the timeouts of the replicas, or much shorter.
		pause(context.WithoutCancel(ctx), time.Duration(float64(length)*(0.2+rng.Float64())))
		end()
		strikes++
		if !pause(ctx, time.Duration(rng.Int64N(int64(length)))) {
			return strikes, lost, forgot
		}
	}
}
