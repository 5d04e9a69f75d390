// Package dbsc binds sessions to the device they began on, with Device Bound Session
// Credentials (DBSC) of the W3C. A copied cookie dies within minutes, and a revoked
// session is dead when the call returns.
//
//	devices, err := dbsc.New(sessions, nil)
//	mux.Handle(dbsc.Path, devices)
//	http.ListenAndServe(addr, sessions.LoadAndSave(devices.Protect(mux)))
//
// After a login the browser is asked for a key, which it keeps where nothing can be
// copied from. From then on the session needs a second cookie, which lives for minutes,
// and for each further one the browser signs with the key. A browser that does not know
// DBSC is served as before.
//
// The package is experimental, because the specification is still a draft. It does not
// stop software that acts on the device itself. docs/device-bound.md says what it stops,
// and which browsers have it.
package dbsc
