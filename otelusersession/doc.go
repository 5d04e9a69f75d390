// Package otelusersession reports what usersession does to OpenTelemetry, as metrics and
// as spans.
//
//	telemetry, err := otelusersession.New(nil)
//	sessions, err := usersession.New(db, telemetry.Instrument(&usersession.Options{}))
//	stop, err := telemetry.Observe(sessions)
//
// These are the metrics:
//
//	usersession.logins              counter, logins and those that were refused, with error.type
//	usersession.ended               counter, sessions that ended, by reason
//	usersession.touch.failed        counter, last-seen times that could not be written
//	usersession.faults              counter, by fault: dropped, ended_meanwhile, misplaced, store_failed,
//	                                unbound, unlisted, unreadable
//	usersession.operation.duration  histogram in seconds, by operation and error.type
//	usersession.sessions.active     gauge, live sessions, of Observe
//	usersession.users.active        gauge, users who have one, of Observe
//	usersession.revocation.pending  gauge, ended sessions with data that are not deleted yet, of Observe
//	usersession.janitor.lag         gauge in seconds, how long the oldest overdue session has waited, of Observe
//
// The gauges are those of the whole index. Several replicas report the same, so take
// the maximum and not the sum.
//
// Each operation of usersession.Options.OnOperation is a span too, such as
// "usersession.load", in the trace of the request.
//
// An attribute has one of a few values. A reason of the program's own is "other", and
// an error that has no name is "_OTHER". No attribute holds a user ID, a session ID, an
// address, the text of an error or anything else that a client has sent.
//
// The module has a dashboard for Grafana, dashboard.json, and rules for Prometheus,
// alerts.yml.
package otelusersession
