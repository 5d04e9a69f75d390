package database_test

import (
	"errors"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/internal/index"
	"github.com/seed-296ca7ab/usersession/internal/inside"
	"github.com/seed-296ca7ab/usersession/internal/trailer"
)

// useDevices sends what package dbsc and Options.TokenReuse ask of an index, about a
// session of a user.
func useDevices(t *testing.T, m *usersession.Manager, s usersession.UserSession, key string, partitioned bool) {
	t.Helper()
	x := inside.Of(m).Index.WithDevices()
	b := &trailer.Binding{UserID: s.UserID, ID: s.ID, Key: key}
	_, err := x.LiveByKey(t.Context(), b)
	var err2 error
	if !partitioned { // else data and row are read by two statements
		_, _, _, err2 = x.FindLive(t.Context(), key)
	}
	_, err3 := x.OfferDevice(t.Context(), b, "secret")
	_, err4 := x.BindDevice(t.Context(), b, "key", "challenge", "secret")
	_, _, err5 := x.DeviceByID(t.Context(), b)
	_, err6 := x.RefreshDevice(t.Context(), b, "key", "challenge", "next", true, index.Client{})
	_, _, _, err7 := x.Presented(t.Context(), key)
	if err := errors.Join(err, err2, err3, err4, err5, err6, err7); err != nil {
		t.Error(err)
	}
}

// partitionsOf returns how many an index has with some options.
func partitionsOf(configure func(*usersession.Options)) int {
	var o usersession.Options
	configure(&o)
	return o.Index.Partitions
}
