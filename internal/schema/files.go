package schema

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io/fs"
	"strings"
)

// Files returns the migrations of some tables as files for goose, 0000N_<table>.sql.
func Files(tables ...Tables) (fs.FS, error) {
	// A zip in memory is the one read-only fs.FS of the standard library that
	// can be made of strings.
	var archive bytes.Buffer
	w, n := zip.NewWriter(&archive), 0
	for _, t := range tables {
		list, err := t.Migrations()
		if err != nil {
			return nil, err
		}
		for _, m := range list {
			n++
			f, err := w.Create(fmt.Sprintf("%05d_%s.sql", n, m.Table))
			if err != nil {
				return nil, err
			}
			fmt.Fprintf(f, "-- +goose Up\n%s;\n\n-- +goose Down\n%s;\n", strings.Join(m.Up, ";\n\n"), strings.Join(m.Down, ";\n\n"))
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
}
