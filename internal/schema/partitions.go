package schema

import "fmt"

// An index of PostgreSQL may be hash-partitioned by user_id, so that whatever is
// about one user reads one partition: Options.Index.Partitions. Unique constraints hold
// in each partition. Across them an ID or a key cannot meet its like but by chance,
// one of 2^128 or 2^256; and a session is accepted for the user and ID its data
// name only.

// MaxPartitions is where locking and planning over all of them begins to cost
// more than the rest.
const MaxPartitions = 256

// partition is one of the index, as its migration makes it.
type partition struct {
	Name               string // quoted
	Modulus, Remainder int
}

func (t Tables) partitions() []partition {
	list := make([]partition, t.Partitions)
	for i := range list {
		list[i] = partition{t.Dialect.Quote(t.Schema, fmt.Sprintf("%s_p%d", t.Index, i)), t.Partitions, i}
	}
	return list
}

// checkPartitions returns an error if the index is there in a number of
// partitions that is not that of the Options. -1 is a table that has none. No
// migration moves rows.
func (t Tables) checkPartitions(there int) error {
	switch {
	case t.Partitions == 0 || t.Partitions == there:
		return nil
	case there < 0:
		return fmt.Errorf("Options.Index.Partitions: is %d, but the table %s is there and is not partitioned", t.Partitions, t.index())
	}
	return fmt.Errorf("Options.Index.Partitions: is %d, but the table %s is there in %d partitions", t.Partitions, t.index(), there)
}
