package boltstore

import (
	"context"

	"go.etcd.io/bbolt"
)

func (s Store) Prune(ctx context.Context) (n int, err error) {
	err = s.change(ctx, func(b *bbolt.Bucket) error {
		var expired [][]byte
		err := b.ForEach(func(key, value []byte) error {
			if !live(value) {
				expired = append(expired, key)
			}
			return ctx.Err()
		})
		for n = 0; err == nil && n < len(expired); n++ {
			err = b.Delete(expired[n])
		}
		return err
	})
	return n, err
}
