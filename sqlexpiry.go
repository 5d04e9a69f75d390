package usersession

import (
	"context"
	"time"
)

var _ ExpiryFinder = (*SQLStore)(nil)

const dataFindExpirySQL = `
SELECT data, @dleft(expiry)
FROM @data
WHERE token = ? AND expiry > @dnow`

// FindExpiry implements ExpiryFinder.
func (s *SQLStore) FindExpiry(ctx context.Context, key string) ([]byte, time.Time, bool, error) {
	var data []byte
	var left int64
	found, err := s.db.ReadRow(ctx, dataFindExpirySQL, []any{key}, &data, &left)
	if err != nil || !found {
		return nil, time.Time{}, false, err
	}
	return data, time.Now().Add(time.Duration(left) * time.Microsecond), true, nil
}
