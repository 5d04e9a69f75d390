// Package questions lists every question of package decide, and names each as the
// table of its test does. It is for tests.
package questions

import (
	"iter"
	"strings"

	"github.com/seed-296ca7ab/usersession/internal/decide"
)

// Deletions yields every Deletion there can be.
func Deletions() iter.Seq[decide.Deletion] {
	return func(yield func(decide.Deletion) bool) {
		for _, s := range sessions {
			for _, user := range s.users {
				for _, asker := range []decide.Asker{decide.Program, decide.Destroyer, decide.NewToken, decide.Forget} {
					for _, staged := range []decide.Staged{decide.NothingStaged, decide.LoginStaged, decide.RenewalStaged} {
						for _, unstaged := range bools {
							for _, key := range keys(s.session, staged) {
								if !yield(decide.Deletion{Asker: asker, Session: s.session, User: user, Staged: staged, Unstaged: unstaged, Key: key}) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// Commits yields every Commit there can be.
func Commits() iter.Seq[decide.Commit] {
	return func(yield func(decide.Commit) bool) {
		for _, s := range sessions {
			for _, user := range s.users {
				for _, staged := range []decide.Staged{decide.NothingStaged, decide.LoginStaged, decide.RenewalStaged} {
					for _, stagedUser := range stagedUsers[staged] {
						for _, key := range keys(s.session, staged) {
							for _, identity := range identities(user) {
								if !yield(decide.Commit{Session: s.session, User: user, Staged: staged, StagedUser: stagedUser, Key: key, Identity: identity}) {
									return
								}
							}
						}
					}
				}
			}
		}
	}
}

// ByHands yields every ByHand there can be.
func ByHands() iter.Seq[decide.ByHand] {
	return func(yield func(decide.ByHand) bool) {
		for _, user := range bools {
			if !yield(decide.ByHand{User: user}) {
				return
			}
			for _, row := range []decide.Row{decide.NoRow, decide.Here, decide.Elsewhere, decide.Over} {
				for _, detached := range bools {
					switch {
					case !user && row == decide.Elsewhere: // it was looked up by the key
					case detached && row != decide.Elsewhere:
					case !yield(decide.ByHand{Moved: true, User: user, Row: row, Detached: detached}):
						return
					}
				}
			}
		}
	}
}

// Responses yields every Response there can be.
func Responses() iter.Seq[decide.Response] {
	return func(yield func(decide.Response) bool) {
		for _, data := range []decide.Data{decide.Unchanged, decide.Changed, decide.Destroyed} {
			for _, failed := range bools {
				if !yield(decide.Response{Data: data, Failed: failed}) {
					return
				}
			}
		}
	}
}

// Loadings yields every Loading there can be.
func Loadings() iter.Seq[decide.Loading] {
	return func(yield func(decide.Loading) bool) {
		for _, use := range []decide.Use{decide.InUse, decide.Passive, decide.Peek} {
			for _, user := range bools {
				for _, read := range bools {
					for _, idle := range bools {
						if read && !user { // an anonymous session has no row
							continue
						}
						if !yield(decide.Loading{Use: use, User: user, RowRead: read, Idle: idle}) {
							return
						}
					}
				}
			}
		}
	}
}

var bools = []bool{false, true}

var sessions = []struct {
	session decide.Session
	users   []bool // whether it is a user's
}{
	{decide.NoSession, []bool{false}},
	{decide.Present, bools},
	{decide.Detached, bools},
	{decide.Lost, bools},
	{decide.Cleared, []bool{true}}, // an anonymous session has no identity that could be cleared away
	{decide.Unreadable, bools},
}

var stagedUsers = map[decide.Staged][]bool{
	decide.NothingStaged: {false},
	decide.LoginStaged:   {true},
	decide.RenewalStaged: bools,
}

func keys(s decide.Session, staged decide.Staged) []decide.Key {
	k := []decide.Key{decide.OtherKey}
	if s != decide.NoSession {
		k = append(k, decide.OwnKey)
	}
	if staged != decide.NothingStaged {
		k = append(k, decide.NewKey)
	}
	return k
}

func identities(user bool) []decide.Identity {
	if user {
		return []decide.Identity{decide.Nobodys, decide.Own, decide.Anothers}
	}
	return []decide.Identity{decide.Nobodys, decide.Anothers}
}

var (
	sessionNames  = []string{"no session", "present", "detached", "lost", "cleared", "unreadable"}
	keyNames      = []string{"other key", "own key", "new key"}
	stagedNames   = []string{"nothing", "login", "renewal"}
	askerNames    = []string{"program", "destroyer", "new token", "forget"}
	identityNames = []string{"nobody's", "own", "another's"}
	rowNames      = []string{"no row", "row here", "row elsewhere", "row over"}
	deleteNames   = []string{"keep", "keep old", "delete other", "end user", "detach user", "detach anonymous", "destroy own"}
	dataNames     = []string{"unchanged", "changed", "destroyed"}
	finishNames   = []string{"leave", "commit data", "end", "give up"}
	useNames      = []string{"in use", "passive", "peek"}
	seenNames     = []string{"not seen", "touch by row", "touch when due", "look when due"}
	saveNames     = []string{"create", "update", "refuse ended", "refuse cleared", "end lost", "end cleared", "renew detached", "commit login", "commit renewal", "give up staged", "replace unreadable"}
)

// Answer names what Decide has answered.
func Answer[A decide.Delete | decide.Save | decide.Finish | decide.Seen](a A) string {
	switch a := any(a).(type) {
	case decide.Delete:
		return deleteNames[a]
	case decide.Save:
		return saveNames[a]
	case decide.Finish:
		return finishNames[a]
	case decide.Seen:
		return seenNames[a]
	}
	panic("unreachable")
}

// Name names a Deletion, a Commit, a ByHand, a Response or a Loading as a row of the table does.
func Name(question any) string {
	switch q := question.(type) {
	case decide.Deletion:
		return join("delete", askerNames[q.Asker], whose(q.Session, q.User), stagedNames[q.Staged], either(q.Unstaged, "unstaged", "known"), keyNames[q.Key])
	case decide.Commit:
		staged := stagedNames[q.Staged]
		if q.Staged == decide.RenewalStaged {
			staged = either(q.StagedUser, "user's ", "anonymous ") + staged
		}
		return join("commit", whose(q.Session, q.User), staged, keyNames[q.Key], identityNames[q.Identity])
	case decide.ByHand:
		row := rowNames[q.Row]
		switch {
		case !q.Moved:
			row = "not moved"
		case q.Row == decide.Elsewhere:
			row = either(q.Detached, "detached ", "foreign ") + row
		}
		return join("by hand", either(q.User, "a user's", "nobody's"), row)
	}
	switch q := question.(type) {
	case decide.Response:
		return join("response", dataNames[q.Data], either(q.Failed, "failed", "fine"))
	case decide.Loading:
		return join("loading", useNames[q.Use], either(q.User, "user", "anonymous"), either(q.RowRead, "row read", "no row"), either(q.Idle, "idle in store", "idle elsewhere"))
	}
	panic("questions: not a question")
}

func whose(s decide.Session, user bool) string {
	if s == decide.NoSession {
		return sessionNames[s]
	}
	return either(user, "user ", "anonymous ") + sessionNames[s]
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func join(parts ...string) string { return strings.Join(parts, " | ") }
