package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/seed-296ca7ab/usersession/internal/doctor"
)

// examineRedis makes the checks on the Redis, or on each primary of the Cluster.
func (a *app) examineRedis(ctx context.Context, s *site) []doctor.Finding {
	if err := s.store.Check(ctx); err != nil {
		return []doctor.Finding{{Check: "redis", Level: doctor.Fail, Text: strings.TrimPrefix(plain(err), "redisstore: "), Fix: "look at --redis; it names a primary of Redis 6.0 or later that runs"}}
	}
	cluster, ok := s.redis.(*redis.ClusterClient)
	if !ok {
		return a.examineNode(ctx, s.redis.(*redis.Client))
	}
	var mu sync.Mutex
	var list []doctor.Finding
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		found := a.examineNode(ctx, node)
		mu.Lock()
		defer mu.Unlock()
		list = append(list, found...)
		return nil
	})
	if err != nil {
		list = append(list, doctor.Finding{Check: "redis", Level: doctor.Fail, Text: plain(err)})
	}
	return list
}

func (a *app) examineNode(ctx context.Context, node *redis.Client) []doctor.Finding {
	addr := node.Options().Addr
	before := a.now()
	at, err := node.Time(ctx).Result()
	after := a.now()
	if err != nil {
		return []doctor.Finding{{Check: "redis", Level: doctor.Fail, Text: plain(err)}}
	}
	list := []doctor.Finding{doctor.Clock("clock", "Redis", at, before, after)}
	host, _, _ := net.SplitHostPort(addr)
	var encrypted *tls.Config = node.Options().TLSConfig
	list = append(list, tlsFinding("tls", "Redis", host, encrypted != nil, "use rediss:// in the URL of the program, too"))
	text, err := node.Info(ctx).Result()
	if err != nil {
		return append(list, doctor.Finding{Check: "redis", Level: doctor.Warn, Text: addr + " does not allow INFO: its persistence and its eviction policy are not known", Fix: "ACL SETUSER … +info +config|get"})
	}
	config := map[string]string{}
	for _, name := range []string{"save", "min-replicas-to-write"} {
		if values, err := node.ConfigGet(ctx, name).Result(); err == nil { // managed servers do not allow it
			for k, v := range values {
				config[k] = v
			}
		}
	}
	return append(list, judgeRedis(addr, infoFields(text), config)...)
}

func infoFields(text string) map[string]string {
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// maxLag is how many seconds a replica may be behind.
const maxLag = 10

// judgeRedis judges what a server says of itself. config has what it was allowed to say.
func judgeRedis(addr string, info, config map[string]string) []doctor.Finding {
	list := []doctor.Finding{{Check: "redis", Level: doctor.OK, Text: "Redis " + info["redis_version"] + " answers at " + addr}}
	add := func(level doctor.Level, check, text, fix string) {
		list = append(list, doctor.Finding{Check: check, Level: level, Text: text, Fix: fix})
	}
	number := func(name string) float64 {
		n, _ := strconv.ParseFloat(info[name], 64)
		return n
	}
	policy, limit := info["maxmemory_policy"], number("maxmemory")
	const noeviction = "CONFIG SET maxmemory-policy noeviction, and CONFIG REWRITE"
	switch {
	case policy == "noeviction" || policy == "":
		add(doctor.OK, "eviction", "Redis drops no session to make room", "")
	case limit > 0:
		add(doctor.Fail, "eviction", "the policy is "+policy+": Redis drops sessions when its memory is full", noeviction)
	default:
		add(doctor.Warn, "eviction", "the policy is "+policy+": with a maxmemory, Redis would drop sessions", noeviction)
	}
	if used := number("used_memory"); limit > 0 && used > 0.9*limit {
		add(doctor.Warn, "memory", fmt.Sprintf("Redis uses %.0f%% of its maxmemory; without room nobody can log in", 100*used/limit), "CONFIG SET maxmemory to more, and CONFIG REWRITE")
	}
	const aof = "CONFIG SET appendonly yes, and CONFIG REWRITE; or Options.VerifyEveryRequest, and usersession reconcile after a restart"
	save, known := config["save"]
	switch {
	case info["aof_last_write_status"] == "err" || info["rdb_last_bgsave_status"] == "err":
		add(doctor.Fail, "persist", "Redis could not write to its disk", "look at its log, its disk and its rights; then BGSAVE")
	case info["aof_enabled"] == "1":
		add(doctor.OK, "persist", "Redis writes an append-only file", "")
	case known && save == "":
		add(doctor.Warn, "persist", "Redis keeps nothing on disk: its restart logs everybody out", aof)
	default:
		add(doctor.Warn, "persist", "Redis keeps snapshots only: its restart loses logins since the last one, and brings back sessions that were revoked since", aof)
	}
	replicas := number("connected_slaves")
	for i := range int(replicas) {
		replica := map[string]string{}
		for field := range strings.SplitSeq(info[fmt.Sprint("slave", i)], ",") {
			name, value, _ := strings.Cut(field, "=")
			replica[name] = value
		}
		if lag, err := strconv.Atoi(replica["lag"]); replica["state"] != "online" || err != nil || lag > maxLag {
			add(doctor.Warn, "replica", fmt.Sprintf("the replica %s:%s is %s and %s s behind", replica["ip"], replica["port"], replica["state"], replica["lag"]), "look at its log; a failover to it would bring back revoked sessions")
		}
	}
	if least, known := config["min-replicas-to-write"]; replicas > 0 && known && least == "0" {
		add(doctor.Warn, "replica", "a failover may forget the last deletions, and bring back sessions that were revoked then", "Options.VerifyEveryRequest: true, or CONFIG SET min-replicas-to-write 1")
	}
	return list
}
