package usersession

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
)

// An index of PostgreSQL may be hash-partitioned by user_id, so that whatever is
// about one user reads one partition: Options.Partitions. Unique constraints hold
// in each partition. Across them an ID or a key cannot meet its like but by chance,
// one of 2^128 or 2^256; and a session is accepted for the user and ID its data
// name only.

// maxPartitions is where locking and planning over all of them begins to cost
// more than the rest.
const maxPartitions = 256

// partition is one of the index, as its migration makes it.
type partition struct {
	Name               string // quoted
	Modulus, Remainder int
}

func (d *dialect) partitionList() []partition {
	list := make([]partition, d.partitions)
	for i := range list {
		list[i] = partition{quoteName(d.name, d.schema, fmt.Sprintf("%s_p%d", d.tablePlain, i)), d.partitions, i}
	}
	return list
}

const partitionsSQL = `
SELECT inhrelid::regclass::text
FROM pg_inherits
WHERE inhparent = to_regclass(?)
ORDER BY 1`

// parts returns the index in parts that can be pruned one by one, from anywhere
// on: its partitions, whatever made them, or the index itself.
func (x *userIndex) parts(ctx context.Context) ([]*userIndex, error) {
	if x.d.partitions == 0 {
		return []*userIndex{x}, nil
	}
	var names []string
	if err := x.query(ctx, unkept{x.db}, &names, partitionsSQL, x.d.index); err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return []*userIndex{x}, nil // not migrated, which the next statement says
	}
	parts := make([]*userIndex, len(names))
	first := rand.IntN(len(names))
	for i := range names {
		name := names[(first+i)%len(names)]
		part, ok := x.part.Load(name)
		if !ok {
			d := *x.d
			d.index, d.partitions = name, 0
			part, _ = x.part.LoadOrStore(name, &userIndex{conn: newConn(x.db, &d, x.prepare)})
		}
		parts[i] = part.(*userIndex)
	}
	return parts, nil
}

const partitionedSQL = `
SELECT c.relkind::text AS kind,
	(SELECT count(*) FROM pg_inherits i WHERE i.inhparent = c.oid) AS partitions
FROM pg_class c
WHERE c.oid = to_regclass(?)`

// checkPartitions returns an error if the index is there and is not in the
// partitions that the Options say. No migration moves rows.
func (d *dialect) checkPartitions(ctx context.Context, q querier) error {
	if d.partitions == 0 {
		return nil
	}
	row := q.QueryRowxContext(ctx, d.sql(partitionedSQL), d.index)
	var table struct {
		Kind       string `db:"kind"`
		Partitions int    `db:"partitions"`
	}
	switch err := row.StructScan(&table); {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	case table.Kind != "p":
		return fmt.Errorf("usersession: Options.Partitions: is %d, but the table %s is there and is not partitioned", d.partitions, d.index)
	case table.Partitions != d.partitions:
		return fmt.Errorf("usersession: Options.Partitions: is %d, but the table %s is there in %d partitions", d.partitions, d.index, table.Partitions)
	}
	return nil
}
