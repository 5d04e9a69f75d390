// Package redisstore keeps session data in Redis: in one server, behind
// Sentinel, or in a Redis Cluster. It is tested with Redis 7.0 and believed to
// work with Redis 6.0 and later, and with Valkey.
//
//	client := redis.NewUniversalClient(&redis.UniversalOptions{
//		Addrs:                 []string{"127.0.0.1:6379"},
//		ContextTimeoutEnabled: true, // required: without it go-redis ignores deadlines
//	})
//	store, err := redisstore.New(client, &redisstore.Options{Logger: logger})
//	err = store.Check(ctx) // optional: find a wrong setup at start and not at the first request
//	sessions, err := usersession.New(db, &usersession.Options{Store: store, Logger: logger})
//
// A session is one string under the prefix and its key, with a TTL, always. A
// read is one GET, a write one SET, a touch one PEXPIRE. Update and Touch are
// single commands that do nothing to a missing key, so no request in flight
// brings a deleted session back. Expiries are sent as durations: the clocks of
// the program and of Redis need not agree.
// Scripts on the server were not faster (testdata/scripts.txt), so there are none.
//
// # Settings of the client
//
// New refuses what would break a promise, and names the option:
//
//   - ContextTimeoutEnabled must be true, ReadTimeout and WriteTimeout must not
//     be -2: otherwise calls do not end with their context.
//   - Nothing may read from replicas (ReadOnly, RouteByLatency, RouteRandomly)
//     or from a cache in the process (ClientSideCache, ClientSideCacheConfig):
//     a session that has been revoked would still be served.
//     FailoverOptions.ReplicaOnly cannot be seen in a client: Check and the
//     first use notice that the server is a replica, and so does the first
//     write if go-redis knew of no replica before. Never set it.
//   - A redis.Ring moves keys to other shards while one is down, and back: a
//     session deleted meanwhile would come back.
//
// Retries of go-redis (MaxRetries) are welcome, as every command but one can be
// repeated. Create is sent once: if its answer is lost, it returns an error and
// never a false usersession.ErrKeyExists. A repeated Touch counts its duration
// anew.
//
// When a node of a Cluster does not answer, the Store makes go-redis ask the
// others at once who has taken over, instead of once a minute
// (ClusterOptions.ClusterStateReloadInterval).
//
// # Settings of the server
//
//   - maxmemory-policy noeviction. Every other policy logs people out when
//     memory runs short; Check and the first use log a warning. With noeviction
//     a full Redis refuses logins with an error, while reads, touches and
//     revocations go on.
//   - appendonly yes. After a crash, appendfsync everysec forgets up to about a
//     second; snapshots alone restore sessions that were revoked since.
//   - min-replicas-to-write 1 and min-replicas-max-lag where there are replicas:
//     a primary that is cut off stops accepting logins and revocations soon,
//     rather than lose them.
//   - An ACL user needs GET, SET, PEXPIRE, DEL, EXISTS, SCAN and INFO on the keys
//     of the prefix; in a Cluster CLUSTER SLOTS and COMMAND as well.
//
// # What Redis can lose
//
// Replication is asynchronous. A failover, or the restart of a server that has
// not written everything to disk, can forget writes it has acknowledged:
//
//   - a login: that browser is logged out;
//   - a change of data: the session has its former data;
//   - a deletion: a session that has been revoked is served again, until
//     usersession.Manager.Run deletes it a second time. Where that is too long,
//     set usersession.Options.VerifyEveryRequest.
//
// A program that is cut off from the rest together with an old primary reads
// there what has been deleted elsewhere: in a Cluster for up to about
// cluster-node-timeout, behind Sentinel until they are connected again.
//
// Waiting for replicas (WAIT) would make this rarer and not impossible, at the
// price of a round trip, so the package does not.
//
// The package imports the standard library, go-redis and the package
// usersession.
package redisstore
