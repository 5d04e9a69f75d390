// Package redisstore keeps session data in Redis. That is one server, servers
// behind Sentinel, or a Redis Cluster. It is tested with Redis 7.0 and believed
// to work with Redis 6.0 and later, and with Valkey.
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
// brings a deleted session back. Expiries are sent as durations, so the clocks
// of the program and of Redis need not agree. Scripts on the server were not
// faster (testdata/scripts.txt), so there are none.
//
// # Settings of the client
//
// New refuses a client that would break a promise, and names the option.
//
//   - ContextTimeoutEnabled must be true, and ReadTimeout and WriteTimeout must
//     not be -2. Otherwise calls do not end with their context.
//   - Nothing may read from replicas (ReadOnly, RouteByLatency, RouteRandomly)
//     or from a cache in the process (ClientSideCache, ClientSideCacheConfig).
//     A session that has been revoked would still be served.
//     FailoverOptions.ReplicaOnly cannot be seen in a client. Check and the
//     first use notice that the server is a replica, and so does the first
//     write if go-redis knew of no replica before. Never set ReplicaOnly.
//   - The client must not be a redis.Ring, which moves keys to other shards
//     while one is down, and back. A session deleted meanwhile would come back.
//
// Retries of go-redis (MaxRetries) are welcome, as every command but one can be
// repeated. Create is sent once. If its answer is lost, Create returns an error
// and never a false usersession.ErrKeyExists. A repeated Touch counts its
// duration anew.
//
// When a node of a Cluster does not answer, the Store makes go-redis ask the
// others at once who has taken over, instead of once a minute
// (ClusterOptions.ClusterStateReloadInterval).
//
// # Settings of the server
//
//   - maxmemory-policy noeviction. Every other policy logs people out when
//     memory runs short. Check and the first use log a warning then. With
//     noeviction a full Redis refuses logins with an error, while reads,
//     touches and revocations go on.
//   - appendonly yes. After a crash, appendfsync everysec forgets up to about a
//     second. Snapshots alone restore sessions that were revoked since.
//   - min-replicas-to-write 1 and min-replicas-max-lag where there are
//     replicas. A primary that is cut off then soon stops accepting logins and
//     revocations, rather than lose them.
//   - An ACL user needs GET, SET, PEXPIRE, DEL, EXISTS, SCAN and INFO on the
//     keys of the prefix. In a Cluster it needs CLUSTER SLOTS and COMMAND as
//     well.
//
// # What Redis can lose
//
// Replication is asynchronous. A failover, or the restart of a server that has
// not written everything to disk, can forget writes it has acknowledged.
//
//   - If a login is lost, that browser is logged out.
//   - If a change of data is lost, the session has its former data.
//   - If a deletion is lost, a session that has been revoked is served again,
//     until usersession.Manager.Run deletes it a second time. Where that is too
//     long, set usersession.Options.VerifyEveryRequest.
//
// A program that is cut off from the rest together with an old primary still
// reads there the data that have been deleted elsewhere. In a Cluster this
// lasts up to about cluster-node-timeout. Behind Sentinel it lasts until the
// two are connected again.
//
// Waiting for replicas (WAIT) would make this rarer and not impossible, at the
// price of a round trip, so the package does not.
//
// The package imports the standard library, go-redis and the package
// usersession.
package redisstore
