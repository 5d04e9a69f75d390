// Package canary runs a broad program with secrets that are known, and looks for them
// in all that it leaves behind. It must never take a place for clean that it has not
// read.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"sync"

	"github.com/jmoiron/sqlx"

	"github.com/seed-296ca7ab/usersession/internal/token"
)

// secret is what must not be found in some places.
type secret struct {
	what  string
	forms [][]byte
	// stored says that it may be in a database, in the index and in the Store.
	stored bool
}

// newSecret returns the secret of a text and of bytes, each in the forms in which a
// program may print it.
func newSecret(what, text string, raw []byte, stored bool) secret {
	s := secret{what: what, stored: stored}
	if text != "" {
		s.forms = append(s.forms, []byte(text), []byte(text[:16]), []byte(text[len(text)-16:]), []byte(url.QueryEscape(text)))
	}
	numbers := strings.Trim(fmt.Sprint(raw[:8]), "[]")
	quoted := []rune(fmt.Sprintf("%q", raw)) // of all of it: eight bytes may end in the middle of a letter
	s.forms = append(s.forms, raw[:16], []byte(hex.EncodeToString(raw[:8])), []byte(strings.ToUpper(hex.EncodeToString(raw[:8]))),
		[]byte(base64.StdEncoding.EncodeToString(raw[:12])), []byte(base64.URLEncoding.EncodeToString(raw[:12])),
		[]byte(numbers), []byte(strings.ReplaceAll(numbers, " ", ",")), []byte(strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", raw[:8]), "[]byte{"), "}")), []byte(string(quoted[1:13])))
	return s
}

// tokenSecrets returns those of a token: itself, and the key under which its data are.
func tokenSecrets(tok string) []secret {
	raw, _ := base64.RawURLEncoding.DecodeString(tok)
	key := token.Key(tok)
	rawKey, _ := base64.RawURLEncoding.DecodeString(key)
	return []secret{newSecret("token", tok, raw, false), newSecret("store key", key, rawKey, true)}
}

// places are what a program leaves behind, by name. A name that begins with "stored" is
// that of the index or of a Store.
type places struct {
	mu  sync.Mutex
	all map[string]*bytes.Buffer
}

// of returns a writer to a place.
func (p *places) of(name string) io.Writer { return placeWriter{p, name} }

type placeWriter struct {
	p    *places
	name string
}

func (w placeWriter) Write(b []byte) (int, error) {
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	if w.p.all == nil {
		w.p.all = map[string]*bytes.Buffer{}
	}
	if w.p.all[w.name] == nil {
		w.p.all[w.name] = &bytes.Buffer{}
	}
	return w.p.all[w.name].Write(b)
}

// hits returns what was found where.
func (p *places) hits(secrets []secret) (found []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, b := range p.all {
		for _, s := range secrets {
			if s.stored && strings.HasPrefix(name, "stored") {
				continue
			}
			for _, form := range s.forms {
				if i := bytes.Index(b.Bytes(), form); i >= 0 {
					around := b.Bytes()[max(0, i-120):min(b.Len(), i+80)]
					found = append(found, fmt.Sprintf("a %s is in %s: …%q…", s.what, name, around))
					break
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

// print writes a value under every verb, as JSON and as both handlers of slog do.
func (p *places) print(name string, values ...any) {
	w := p.of("printed " + name)
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(w, verb+"\n", v)
		}
		if text, err := json.Marshal(v); err == nil {
			w.Write(text)
		}
		slog.New(slog.NewTextHandler(w, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(w, nil)).Info("x", "v", v)
	}
}

// failed prints an error and all it wraps.
func (p *places) failed(err error) {
	for err != nil {
		p.print("errors", err)
		several, ok := err.(interface{ Unwrap() []error })
		if ok {
			for _, e := range several.Unwrap() {
				p.failed(e)
			}
			return
		}
		one, ok := err.(interface{ Unwrap() error })
		if !ok {
			return
		}
		err = one.Unwrap()
	}
}

// dump writes the stacks of all goroutines.
func (p *places) dump() {
	w := p.of("goroutines")
	w.Write(debug.Stack())
	all := make([]byte, 1<<20)
	w.Write(all[:runtime.Stack(all, true)])
	for _, detail := range []int{1, 2} {
		pprof.Lookup("goroutine").WriteTo(w, detail)
	}
}

// tables writes every row of every table.
func (p *places) tables(db *sqlx.DB) error {
	names := map[string]string{
		"sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'", "mysql": "SHOW TABLES",
		"postgres": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
	}
	names["pgx"] = names["postgres"]
	var all []string
	if err := db.Select(&all, names[db.DriverName()]); err != nil {
		return err
	}
	for _, table := range all {
		rows, err := db.Queryx("SELECT * FROM " + table)
		if err != nil {
			return err
		}
		for rows.Next() {
			values, err := rows.SliceScan()
			if err != nil {
				rows.Close()
				return err
			}
			for _, v := range values {
				if b, ok := v.([]byte); ok {
					p.of("stored in SQL").Write(b)
					v = string(b)
				}
				fmt.Fprintf(p.of("stored in SQL"), "\n%v %s %x\n", v, v, v)
			}
		}
		if err := rows.Err(); err != nil {
			return err
		}
	}
	return nil
}
