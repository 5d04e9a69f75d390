package otelusersession

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-296ca7ab/usersession"
)

// reasons are those of usersession. A program may have any number of its own.
var reasons = []string{
	usersession.ReasonLogout, usersession.ReasonRevoked, usersession.ReasonReplaced, usersession.ReasonEvicted,
	usersession.ReasonExpired, usersession.ReasonAborted, usersession.ReasonDataLost, usersession.ReasonUserDeleted,
	usersession.ReasonPasswordChanged, usersession.ReasonFactorChanged, usersession.ReasonAccountDisabled, usersession.ReasonNotMe, usersession.ReasonTokenReused,
}

const otherReason = "other"

func reason(text string) string {
	if slices.Contains(reasons, text) {
		return text
	}
	return otherReason
}

// faults are the events that are counted as such, under their own names.
var faults = []usersession.EventKind{
	usersession.EventDropped, usersession.EventEndedMeanwhile, usersession.EventMisplaced,
	usersession.EventStoreFailed, usersession.EventTokenReused, usersession.EventUnbound, usersession.EventUnlisted, usersession.EventUnreadable,
}

// errorTypes are the names of errors. The first that fits is taken, and a refusal is no
// failure of the program.
var errorTypes = []struct {
	err     error
	name    string
	refusal bool
}{
	{usersession.ErrRevocationPending, "revocation_pending", false},
	{usersession.ErrNotMigrated, "not_migrated", false},
	{usersession.ErrAccountDisabled, "account_disabled", true},
	{usersession.ErrBadUserID, "bad_user_id", true},
	{usersession.ErrEmptyFilter, "empty_filter", true},
	{usersession.ErrImpersonated, "impersonated", true},
	{usersession.ErrInRecheck, "in_recheck", true},
	{usersession.ErrKeyExists, "key_exists", false},
	{usersession.ErrNoSession, "no_session", true},
	{usersession.ErrNoUserID, "no_user_id", true},
	{usersession.ErrNotCommitted, "not_committed", true},
	{usersession.ErrOtherSession, "other_session", true},
	{usersession.ErrOtherUser, "other_user", true},
	{usersession.ErrResponseStarted, "response_started", true},
	{usersession.ErrRevokedMeanwhile, "revoked_meanwhile", true},
	{usersession.ErrSessionEnded, "session_ended", true},
	{usersession.ErrSessionNotFound, "session_not_found", true},
	{usersession.ErrTooManySessions, "too_many_sessions", true},
	{usersession.ErrUnknownUser, "unknown_user", true},
	{context.DeadlineExceeded, "timeout", false},
	{context.Canceled, "canceled", true},
}

// otherError is what OpenTelemetry calls an error without a name.
const otherError = "_OTHER"

func errorType(err error) string {
	for _, t := range errorTypes {
		if errors.Is(err, t.err) {
			return t.name
		}
	}
	return otherError
}

func refusal(err error) bool {
	for _, t := range errorTypes {
		if errors.Is(err, t.err) {
			return t.refusal
		}
	}
	return false
}
