package usersession

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/alexedwards/scs/v2"
)

// The defaults of Options, WatchOptions, SQLStoreOptions and [Manager.Impersonate].
const (
	DefaultIdleTimeout   = time.Hour
	DefaultLifetime      = 24 * time.Hour
	DefaultTouchInterval = time.Minute
	DefaultPruneInterval = time.Minute
	DefaultReadTimeout   = 2 * time.Second
	DefaultWriteTimeout  = 5 * time.Second
	DefaultWatchInterval = time.Second
	DefaultImpersonation = time.Hour
	DefaultMaxSessions   = 100
	DefaultTable         = "user_sessions"
	DefaultDataTable     = "sessions" // that of scs's own SQL stores

	// NoIdleTimeout as Options.IdleTimeout means that sessions end by their
	// lifetime only.
	NoIdleTimeout time.Duration = -1

	// NoMaxSessions as Options.MaxSessions means that a user may have any number
	// of sessions.
	NoMaxSessions = -1

	// MaxImpersonation bounds the lifetime of a session of [Manager.Impersonate].
	MaxImpersonation = 8 * time.Hour
)

// LimitPolicy says what Login does for a user who has Options.MaxSessions live
// sessions already.
type LimitPolicy int

const (
	// LimitEvictOldest ends the session that was logged in first.
	LimitEvictOldest LimitPolicy = iota
	// LimitEvictLeastRecent ends the session that was not seen for the longest time.
	LimitEvictLeastRecent
	// LimitReject refuses the login with ErrTooManySessions.
	LimitReject
)

// Options configure a Manager. The zero value of every field is its default, so
// that only the fields that differ need to be named.
type Options struct {
	// Store keeps the session data. If nil, the data are in a table of the
	// index's own database, and one statement reads them together with the
	// index. See [NewSQLStore].
	Store Store

	// SCS is the scs manager to build on. Its Cookie, Codec, ErrorFunc,
	// Lifetime and IdleTimeout count. A different Lifetime or IdleTimeout in
	// Options is an error. Only the Lifetime of 24 hours that scs.New sets may
	// be replaced.
	//
	// New takes SCS over and sets its Store, Codec, Lifetime, IdleTimeout and
	// HashTokenInStore. SCS must come from scs.New and must not be shared
	// between Managers. Its Store is not used. Pass the store as Options.Store
	// with scsstore.Wrap, and leave SCS.Store as scs.New made it, or nil.
	//
	// If SCS is nil, New makes one with [BinaryCodec]. Its cookie is
	// __Host-session, Secure, HttpOnly, SameSite=Lax and not persistent.
	SCS *scs.SessionManager

	// Preset is a level of NIST SP 800-63B-4 whose limits the sessions are to keep. It
	// fills in Lifetime and IdleTimeout where they are not set. These are 30 days and none
	// for AAL1, 24 hours and 1 hour for AAL2, 12 hours and 15 minutes for AAL3. An option
	// that contradicts it is an error of New, and a WithLifetime or WithIdleTimeout that
	// does is one of Login. Shorter is always allowed. By default there is no preset, and
	// the defaults are the limits of AAL2. See [Manager.Policy].
	Preset Level

	// IdleTimeout ends a session that is not used for so long (ASVS 5.0,
	// 7.3.1). The default is that of SCS if it has one, else 1 hour, or
	// Lifetime if that is shorter. NoIdleTimeout turns it off. It must be at
	// least 10 milliseconds. Anonymous sessions in a Store without atomic
	// updates end by Lifetime only.
	IdleTimeout time.Duration

	// Lifetime ends a session so long after its login or its last Reauthenticate, also
	// if it is in use (ASVS 5.0, 7.3.2). The default is that of SCS if given, else 24 hours.
	// SetDeadline of scs can shorten a session. A later time changes nothing,
	// so use WithLifetime for a longer one. A change counts for logins
	// from then on. Sessions that are there keep the end they were given, and
	// RevokeMatching with Filter.CreatedBefore ends them at once.
	Lifetime time.Duration

	// TouchInterval is the shortest time between two writes of a session's
	// last-seen time. The last-seen time may lag behind by as much. So a
	// session may end by as much earlier than IdleTimeout says, but never
	// later. It must be at most a quarter of IdleTimeout. The default is 1
	// minute, or a quarter of IdleTimeout if that is shorter.
	TouchInterval time.Duration

	// NoTouch says of a request that it does not count as use of its session, such as
	// a page that polls for news. It is served, and its session ends by the
	// IdleTimeout all the same. It must be safe for concurrent use. The mux has not
	// been asked yet, so decide by the path or a header. [Manager.Touch] is for the
	// opposite, a stream that is use.
	NoTouch func(*http.Request) bool

	// MaxSessions limits the live sessions of one user, at each Login. A limit
	// that is set here is never exceeded. Each login of the user takes a lock for
	// it in the database. NoMaxSessions turns the limit off.
	//
	// The default is 100, and it takes no lock while the user has fewer than 50
	// sessions. Logins at once on several replicas can then exceed it, if one is
	// held up in the database while 50 others of the same user go through. The
	// next login ends the ones too many. On SQLite it is never exceeded.
	MaxSessions int

	// MaxSessionsFor returns another limit than MaxSessions for one login, by its user
	// and by the metadata of its options: 1 for a television, say, or more for staff.
	// 0 means MaxSessions, and NoMaxSessions no limit. All live sessions of the user
	// count. It is called in each Login, with its context, must be safe for
	// concurrent use and must not change the metadata. A limit that it returns is
	// never exceeded by that login.
	MaxSessionsFor func(ctx context.Context, userID string, meta map[string]string) int

	// OnLimit says what happens at MaxSessions. Default: LimitEvictOldest.
	OnLimit LimitPolicy

	// UserIDType is the column type of user IDs. Default: UserIDText.
	UserIDType UserIDType

	// UsersTable makes user IDs a foreign key to this table, with ON DELETE SET
	// NULL. It is "users", "users(user_id)" or "accounts.users(id)" for
	// instance. The column is id if none is named. If empty, there is no
	// foreign key.
	UsersTable string

	// Adopt takes over the sessions that plain scs has made in the same store. It
	// needs SCS, with the settings of the program that made them, HashTokenInStore
	// among them. If none of SCS, IdleTimeout and Preset has an idle timeout, there is
	// none. That of a Preset counts from the adoption of a session.
	// If Adopt is nil, data that this package has not written are nobody's.
	Adopt *Adopt

	// Seal encrypts and authenticates each value in the Store. If nil, who can write to
	// a Store that is not verified can log in as anybody. It cannot be set together
	// with Adopt.
	Seal *Seal

	// Index is about the index table and its database. The zero value suits most
	// applications.
	Index IndexOptions

	// VerifyEveryRequest checks a session against the index on every request
	// also where the Store declares atomic updates. A Store that loses
	// acknowledged deletes, in an asynchronous failover for instance, then
	// cannot bring a revoked session back.
	VerifyEveryRequest bool

	// Retention is how long the rows of ended sessions are kept for ListMatching
	// with Filter.Ended. They are kept at least until the absolute deadline of
	// the session in any case. By default they are kept no longer than that.
	Retention time.Duration

	// Privacy says how much of addresses and User-Agents is kept, and for how long. By
	// default they are kept in full, as long as the row.
	Privacy Privacy

	// ClientIP finds the client's address. The default is that of
	// Request.RemoteAddr. Forwarding headers are never trusted by default: any
	// client can send them.
	ClientIP func(*http.Request) netip.Addr

	// InsecureCookies sends the default cookie without Secure and without the
	// __Host- prefix, for development over plain http. It has no effect on
	// SCS.
	InsecureCookies bool

	// ClearSiteData is what the browser is to forget about the site at a logout, beside
	// the cookie. It has any of "cache", "cookies", "storage", "executionContexts",
	// "clientHints", "prefetchCache" and "prerenderCache". The answer to a logout over
	// https has them in a header Clear-Site-Data. "cookies" are those of all hosts of
	// the domain, and are left out if the answer sets the cookie of a new session. By
	// default there is no such header.
	ClearSiteData []string

	// KeepOnError commits the session also if the handler answers with a status of
	// 500 or more. By default nothing is committed then: a Login or Reauthenticate
	// does not happen, and changed data are not saved, as if the handler had
	// panicked. A Logout and a revocation stand in any case.
	KeepOnError bool

	// Token finds the token of a request that does not have it in the cookie, such as
	// that of an API client with a header "Authorization: Bearer". If ok, the request
	// is one of those: its cookies are not looked at, none is set or cleared, and an
	// empty token is nobody's. So other sites cannot forge such a request as long as
	// browsers do not send what Token reads by themselves. If ok is false, the cookie
	// counts. By default it always does.
	//
	// A handler that logs such a client in gives it [Manager.Token] in the response,
	// and again after Reauthenticate and RenewToken. A new anonymous session has its
	// token after Commit. Keep that response out of caches.
	Token func(*http.Request) (token string, ok bool)

	// ReadTimeout bounds how long a request may wait for its session to be
	// loaded. It also bounds ListSessions, ListEndedSessions, Session and
	// Current. Default: 2 seconds.
	ReadTimeout time.Duration

	// WriteTimeout bounds logins, commits and revocations, which do not end with
	// the request's context. It bounds CountMatching, and each page of
	// ListMatching, ListUsers and RevokeMatching. A step of Prune has four times as long.
	// Only their context bounds Migrate and RevokeMatchingTx. Default: 5
	// seconds.
	WriteTimeout time.Duration

	// Watch is about requests under way and contexts of [Manager.Watch], which learn that
	// their session has ended. The zero value suits one replica and many.
	Watch WatchOptions

	// ReadLease lets requests be served without a look at the database or the Store if
	// they need no session data. UserID, RequireUser, RequireFresh and RequireLevel need
	// none. While a process calls Run, it has a lease of this length, and remembers for at
	// most half a minute who is logged in.
	//
	// Whoever ends a session waits until each process with a lease has dropped it, or its
	// lease is over. So once a revocation has returned nil, no request that starts later is
	// served, as without a lease. After a process has died, one revocation takes as long as
	// the lease. See docs/lease.md of the module for what that rests on.
	//
	// Session data are loaded when they are first asked for. If that fails, the method of
	// scs panics, and LoadAndSave answers 503, or 401 if the session has ended. So give a
	// goroutine of a handler what it needs of them.
	//
	// It must be 100 milliseconds to 10 seconds, and at most three quarters of
	// WriteTimeout. 3 seconds suit most. It cannot be set together with Adopt. With
	// VerifyEveryRequest or package dbsc nothing is remembered.
	// By default there is no lease.
	ReadLease time.Duration

	// PruneInterval is the pause between two passes of Run. Default: 1 minute.
	PruneInterval time.Duration

	// Logger gets what an operator should know. It never gets a token, a key
	// or a user ID. If nil, nothing is logged.
	Logger *slog.Logger

	// OnEvent is called for everything that happens to a session, after it
	// has happened, from the goroutine it happened in. It must be safe for
	// concurrent use and should return soon. Its context has no session. The
	// Event has all there is to know. If it panics, the Logger gets the
	// panic with its stack, and the call that reported the event goes on.
	OnEvent func(context.Context, Event)

	// NoticeNewDevices reports EventNewDevice after a login that resembles none of the
	// user's sessions, which costs each login two statements. By default no login is
	// compared.
	NoticeNewDevices bool

	// TokenReuse says what a token from before a renewal does. By default it does nothing.
	TokenReuse ReusePolicy

	// OnOperation is called after each operation, with the time at which it began
	// and its error, if it had one. An operation that only found out that it has
	// nothing to do is one as well. It is called as OnEvent is. Its context has the
	// values of the request's, such as a trace, and no session. Package
	// otelusersession sets it.
	OnOperation func(ctx context.Context, op Operation, began time.Time, err error)

	// OnUnauthenticated answers requests that RequireUser refuses, and those
	// whose session ended before their data could be saved. The default is 401
	// as plain text.
	OnUnauthenticated http.Handler

	// OnStaleLogin answers requests of a logged-in user that RequireFresh
	// refuses. The response has a header WWW-Authenticate by then, whose error
	// is insufficient_user_authentication and whose max_age is in seconds, as in
	// RFC 9470. RequireLevel asks it, too, with the level as acr_values. StepUpOf tells
	// it what is needed. The default is OnUnauthenticated, and 401 as plain text without
	// that.
	OnStaleLogin http.Handler
}
