package signals

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"

	"github.com/jmoiron/sqlx"
)

// State keeps a few short texts by their names, for all replicas and over a restart. It is
// safe for concurrent use. Load returns "" for a name that is not there.
type State interface {
	Load(ctx context.Context, name string) (string, error)
	Save(ctx context.Context, name, value string) error
}

// memoryState is that of one process.
type memoryState struct {
	mu     sync.Mutex
	values map[string]string
}

func (s *memoryState) Load(_ context.Context, name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.values[name], nil
}

func (s *memoryState) Save(_ context.Context, name, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = map[string]string{}
	}
	s.values[name] = value
	return nil
}

// SQLState is a State in the table user_sessions_signals of a database.
type SQLState struct{ db *sqlx.DB }

// NewSQLState returns the State in a database, such as that of the index. Migrate makes
// its table.
func NewSQLState(db *sqlx.DB) *SQLState { return &SQLState{db} }

// Migrate creates the table if it is missing.
func (s *SQLState) Migrate(ctx context.Context) error {
	_, err := s.db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS user_sessions_signals (name CHAR(64) NOT NULL PRIMARY KEY, value VARCHAR(255) NOT NULL)")
	return wrap("SQLState.Migrate", err)
}

// Load implements State.
func (s *SQLState) Load(ctx context.Context, name string) (value string, err error) {
	err = s.db.GetContext(ctx, &value, s.db.Rebind("SELECT value FROM user_sessions_signals WHERE name = ?"), key(name))
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, wrap("SQLState.Load", err)
}

// Save implements State.
func (s *SQLState) Save(ctx context.Context, name, value string) error {
	name = key(name)
	update := s.db.Rebind("UPDATE user_sessions_signals SET value = ? WHERE name = ?")
	res, err := s.db.ExecContext(ctx, update, value, name)
	if err != nil {
		return wrap("SQLState.Save", err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return wrap("SQLState.Save", err)
	}
	if _, err = s.db.ExecContext(ctx, s.db.Rebind("INSERT INTO user_sessions_signals (name, value) VALUES (?, ?)"), name, value); err != nil {
		// Another replica has made the row, or MariaDB has not changed what is the same.
		_, err = s.db.ExecContext(ctx, update, value, name)
	}
	return wrap("SQLState.Save", err)
}

// key is a name of any length, as a text of one length that every database compares
// alike. MariaDB and MySQL do not tell A from a.
func key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// wrap names the method in an error.
func wrap(method string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("signals: %s: %w", method, err)
}
