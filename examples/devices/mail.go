package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"sync"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// mail is what a real application would put into a queue of mails.
type mail struct {
	Subject, Text string
	Link          string // "this wasn't me"
}

// mailbox has the last mails of each user, in memory.
type mailbox struct {
	mu    sync.Mutex
	mails map[string][]mail
}

const kept = 10

func (b *mailbox) send(user string, m mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mails == nil {
		b.mails = make(map[string][]mail)
	}
	list := append([]mail{m}, b.mails[user]...)
	b.mails[user] = list[:min(len(list), kept)]
}

func (b *mailbox) of(user string) []mail {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mails[user]
}

// newNotMe makes the page behind the links of mails.
func (a *app) newNotMe(site string) (*sessionui.NotMeHandler, error) {
	// A real application has the key from its secrets, the same in every replica and
	// after a restart. With this one the links of mails end with the process.
	key := make([]byte, 32)
	rand.Read(key)
	return sessionui.NotMe(a.sessions, &sessionui.NotMeOptions{
		URL: site + "/not-me", Keys: [][]byte{key}, PasswordURL: "/password", Logger: a.logger,
	})
}

// notice is told of every event, and mails what a user should look at.
func (a *app) notice(_ context.Context, e usersession.Event) {
	device := usersession.UserSession{UserAgent: e.UserAgent}.Device()
	switch e.Kind {
	case usersession.EventNewDevice:
		a.mails.send(e.UserID, mail{
			Subject: "A new sign-in",
			Text:    fmt.Sprintf("Somebody has signed in with your password, with %s, from %s.", device, e.IP),
			Link:    a.notMe.Link(e),
		})
	case usersession.EventTokenReused:
		m := mail{
			Subject: "Somebody may use your session",
			Text: fmt.Sprintf("Two have used the same session: %s from %s, and %s from %s.",
				device, e.IP, usersession.UserSession{UserAgent: e.LastUserAgent}.Device(), e.LastIP),
		}
		if e.Reason == usersession.ReasonTokenReused {
			m.Subject = "You have been signed out"
			m.Text += " Sign in again."
		}
		m.Text += " Change your password if you do not know one of them."
		a.mails.send(e.UserID, m)
	}
}
