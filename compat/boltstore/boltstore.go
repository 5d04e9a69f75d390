// Package boltstore keeps session data in a bbolt database.
package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/seed-296ca7ab/usersession"
	"go.etcd.io/bbolt"
)

var bucket = []byte("usersession") // session key: expiry in microseconds, 8 bytes, and the data

type Store struct{ db *bbolt.DB }

func New(db *bbolt.DB) (Store, error) {
	return Store{db}, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket)
		return err
	})
}

func (Store) AtomicUpdates() bool { return true } // bbolt runs one Update at a time

func (s Store) Find(ctx context.Context, key string) (data []byte, found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		value := tx.Bucket(bucket).Get([]byte(key))
		if found = live(value) && ctx.Err() == nil; found {
			data = bytes.Clone(value[8:]) // value is bbolt's memory
		}
		return ctx.Err()
	})
	return data, found, err
}

func (s Store) Create(ctx context.Context, key string, data []byte, expiry time.Time) error {
	found, err := s.put(ctx, key, false, func([]byte) []byte { return append(until(expiry), data...) })
	if found {
		return usersession.ErrKeyExists
	}
	return err
}

func (s Store) Update(ctx context.Context, key string, data []byte) (bool, error) {
	return s.put(ctx, key, true, func(old []byte) []byte { return append(bytes.Clone(old[:8]), data...) })
}

func (s Store) Touch(ctx context.Context, key string, expiry time.Time) (bool, error) {
	return s.put(ctx, key, true, func(old []byte) []byte { return append(until(expiry), old[8:]...) })
}

// put stores what value returns if the key exists, or if it does not, as wanted.
func (s Store) put(ctx context.Context, key string, want bool, value func(old []byte) []byte) (found bool, err error) {
	err = s.change(ctx, func(b *bbolt.Bucket) error {
		old := b.Get([]byte(key))
		if found = live(old); found != want {
			return nil
		}
		return b.Put([]byte(key), value(old))
	})
	return found && err == nil, err
}

func (s Store) Delete(ctx context.Context, keys ...string) error {
	return s.change(ctx, func(b *bbolt.Bucket) (err error) {
		for _, key := range keys {
			err = errors.Join(err, b.Delete([]byte(key)))
		}
		return err
	})
}

// change runs fn in a transaction that is rolled back if ctx has ended.
func (s Store) change(ctx context.Context, fn func(*bbolt.Bucket) error) error {
	return s.db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(fn(tx.Bucket(bucket)), ctx.Err())
	})
}

func live(value []byte) bool {
	return value != nil && time.Now().UnixMicro() < int64(binary.BigEndian.Uint64(value))
}

func until(t time.Time) []byte { return binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())) }
