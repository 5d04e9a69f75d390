package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// storeError says what could not be done and why. The errors of go-redis and of
// the context stay reachable.
type storeError struct {
	text   string
	causes []error
}

func (e *storeError) Error() string   { return e.text }
func (e *storeError) Unwrap() []error { return e.causes }

// failed returns the error of an operation whose outcome is unknown.
func (s *Store) failed(ctx context.Context, operation string, err error) error {
	if redis.IsReadOnlyError(err) {
		s.checked.Store(false) // Reads must not go on there.
	}
	var reply redis.Error
	if s.cluster != nil && !errors.As(err, &reply) && !errors.Is(err, context.Canceled) {
		// A node that is gone cannot say who has its slots now, and go-redis asks
		// the others only once a minute. This starts it and returns.
		s.cluster.ReloadState(ctx)
	}
	e := &storeError{causes: []error{err}}
	ctxErr := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && ctxErr == nil && !time.Now().Before(deadline) {
		ctxErr = context.DeadlineExceeded // The connection, which has the same deadline, was first.
	}
	if ctxErr != nil && !errors.Is(err, ctxErr) {
		e.causes = append(e.causes, ctxErr)
	}
	e.text = "redisstore: " + operation + ": " + explanation(err)
	if !unknownCommand(err) { // whose text repeats the arguments
		e.text += err.Error()
	}
	return e
}

// explanation returns in plain words what an answer of Redis means, if it has
// to do with how it is set up.
func explanation(err error) string {
	_, moved := redis.IsMovedError(err)
	switch {
	case redis.IsReadOnlyError(err):
		return "the server is a replica and cannot be written: "
	case redis.IsOOMError(err):
		return "Redis is full, nothing was written: "
	case redis.IsAuthError(err):
		return "Redis refuses the user name or the password: "
	case redis.IsPermissionError(err):
		return "the ACL user lacks a permission: "
	case redis.IsNoReplicasError(err):
		return "too few replicas are connected (min-replicas-to-write), nothing was written: "
	case redis.HasErrorPrefix(err, "This instance has cluster support disabled"):
		return "the server is no Redis Cluster: use redis.NewClient: "
	case moved, redis.HasErrorPrefix(err, "CROSSSLOT"):
		return "the server is a node of a Redis Cluster whose slots have moved, or that needs redis.NewClusterClient: "
	case unknownCommand(err):
		return "the server does not know a command that is needed"
	}
	return ""
}

// unknownCommand reports whether err is the answer to a command that the server
// does not have. Its text repeats arguments, of which one may be a key.
func unknownCommand(err error) bool {
	return redis.HasErrorPrefix(err, "unknown command")
}
