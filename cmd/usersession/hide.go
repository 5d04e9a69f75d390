package main

import (
	"errors"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-296ca7ab/usersession"
)

// hidingWriter leaves out the passwords of URLs, tokens and keys.
type hidingWriter struct {
	to      io.Writer
	secrets []*regexp.Regexp
}

// credentials are what stands before the host of a URL, or of a DSN in the form of
// MySQL's driver.
var (
	credentials    = regexp.MustCompile(`^(?:[a-z0-9+]+://)?[^:/?#@]*:(.*)@[^@]*$`)
	passwordsIn    = regexp.MustCompile(`(?i)[?&\s](?:password|sslpassword|sslkey)=([^&\s]*)`)
	anyCredentials = regexp.MustCompile(`([a-z0-9+]+://[^:/?#@\s]*:)[^@\s]*@`)
	anyDSN         = regexp.MustCompile(`([^:/?#@\s"]*:)[^\s]*@(tcp|unix)\(`)
)

// hide makes the writer leave out the passwords of some URLs, as they stand there and
// as they are meant.
func (w *hidingWriter) hide(urls ...string) {
	for _, u := range urls {
		var found []string
		if m := credentials.FindStringSubmatch(u); m != nil {
			found = append(found, m[1])
		}
		if parsed, err := url.Parse(u); err == nil {
			if password, ok := parsed.User.Password(); ok {
				found = append(found, password)
			}
		}
		for _, m := range passwordsIn.FindAllStringSubmatch(u, -1) {
			found = append(found, m[1])
		}
		for _, text := range found {
			forms := []string{text}
			if meant, err := url.PathUnescape(text); err == nil {
				forms = append(forms, meant, url.QueryEscape(meant), url.UserPassword("", meant).String()[1:])
			}
			for _, form := range forms {
				if form == "" {
					continue
				}
				pattern := regexp.QuoteMeta(form)
				if len(form) < 4 { // else it would be found within words
					pattern = `\b` + pattern + `\b`
				}
				w.secrets = append(w.secrets, regexp.MustCompile(pattern))
			}
		}
	}
}

// secretWords have the form of tokens and of store keys. One may have been pasted for an
// ID, or stand in the error of a database.
var secretWords = regexp.MustCompile(`(^|[^A-Za-z0-9_-])[A-Za-z0-9_-]{43}($|[^A-Za-z0-9_-])`)

// clean returns a text without passwords, tokens and keys.
func (w *hidingWriter) clean(text string) string {
	text = secretWords.ReplaceAllString(text, "${1}***$2")
	text = anyDSN.ReplaceAllString(anyCredentials.ReplaceAllString(text, "${1}***@"), "${1}***@$2(")
	for _, secret := range w.secrets {
		text = secret.ReplaceAllLiteralString(text, "***")
	}
	return text
}

func (w *hidingWriter) Write(p []byte) (int, error) {
	_, err := io.WriteString(w.to, w.clean(string(p)))
	return len(p), err
}

// shown returns a URL as it may be shown.
func shown(raw string) string {
	if u, err := url.Parse(raw); err == nil && u.Host != "" {
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
		u.RawQuery = ""
		return u.String()
	}
	if i := strings.LastIndex(raw, "@"); i >= 0 {
		raw = raw[i+1:]
	}
	raw, _, _ = strings.Cut(raw, "?")
	return raw
}

// methods begin the errors of the library.
var methods = regexp.MustCompile(`^(usersession: )?((ListMatching|CountMatching|RevokeMatching|RevokeAllSessions|AccountDisabled|AccountEnabled|AdoptAll|ReconcileStore|Reconcile|Stats|Migrate|SQLStore\.Migrate): )?`)

// plain returns the text of an error without the names of the library and of its
// methods, and each of its lines once: drivers try some things twice.
func plain(err error) string {
	var lines []string
	for line := range strings.SplitSeq(printable(err.Error()), "\n") {
		if line = methods.ReplaceAllLiteralString(line, ""); !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// hint says how to go on.
func hint(err error, began bool) string {
	switch {
	case !began || errors.As(err, new(usageError)):
		return "Try: usersession --help"
	case errors.Is(err, usersession.ErrNotMigrated):
		return "If these are the right database, --schema and --table: usersession migrate"
	case errors.Is(err, usersession.ErrRevocationPending):
		return "The sessions have ended in the index. This deletes their data: usersession prune\nData in another Store are deleted by the janitor of their program. See usersession doctor."
	}
	return ""
}
