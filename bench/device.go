package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/seed-296ca7ab/usersession/dbsc"
	"github.com/seed-296ca7ab/usersession/internal/softdevice"
)

// The subjects and the scenario of sessions that are bound to a device. "usersession" is
// without package dbsc.
const (
	oursBound   = "usersession, bound to a device"
	oursUnbound = "usersession, with dbsc and not bound"
	boundRead   = "read, dbsc"
)

// boundReadMost is the target for the p50 of a bound read, as a ratio to one without.
const boundReadMost = 1.05

// deviceLibrary is this library with package dbsc.
type deviceLibrary struct {
	usersessionLibrary
	devices *dbsc.Handler
}

func (l deviceLibrary) wrap(next http.Handler) http.Handler {
	return l.LoadAndSave(l.devices.Protect(next))
}

// devices measures what it costs a read that the session is bound to a device.
func (b *bench) devices() error {
	var apps []*app
	for _, database := range []string{"boundon", "boundnot"} {
		m := b.manager(database, nil)
		l := deviceLibrary{usersessionLibrary{m}, must[*dbsc.Handler](b.tb)(dbsc.New(m, nil))}
		apps = append(apps, newApp(l))
		if database != "boundon" {
			continue
		}
		if err := l.open(apps[0], min(b.sessions, 100)); err != nil {
			return err
		}
	}
	without := newApp(usersessionLibrary{b.manager("boundoff", nil)})
	for _, a := range []*app{apps[1], without} {
		if err := a.open(min(b.sessions, 100)); err != nil {
			return err
		}
	}
	return b.measure(scenario{name: boundRead, backend: "Postgres", clients: b.clientsOf([]int{1, 8}), subjects: []subject{
		{name: oursBound, op: apps[0].reading}, {name: oursUnbound, op: apps[1].reading}, {name: ours, op: without.reading},
	}})
}

// open logs in and binds each session to a device of its own, as a browser does.
func (l deviceLibrary) open(a *app, n int) error {
	register := l.LoadAndSave(l.devices)
	for i := range n {
		answer := httptest.NewRecorder()
		a.loginHandler.ServeHTTP(answer, loginRequest(fmt.Sprint("user", i)))
		cookies := answer.Result().Cookies()
		d, err := softdevice.New()
		if err != nil {
			return err
		}
		proof, err := d.Registration(softdevice.Offered(answer.Header()))
		if err != nil {
			return err
		}
		r := httptest.NewRequest("POST", "https://example.test"+dbsc.Path+"register", nil)
		r.Header.Set("Secure-Session-Response", proof)
		for _, c := range cookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		bound := httptest.NewRecorder()
		register.ServeHTTP(bound, r)
		if bound.Code != http.StatusOK {
			return fmt.Errorf("registration: status %d: %s", bound.Code, bound.Body)
		}
		r = httptest.NewRequest("GET", "https://example.test/", nil)
		for _, c := range append(cookies, bound.Result().Cookies()...) {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		a.requests = append(a.requests, r)
	}
	return nil
}

// deviceTargets are those of sessions that are bound to a device.
func deviceTargets() (all []target) {
	for _, clients := range []int{1, 8} {
		all = append(all, target{fmt.Sprintf("read of a session bound to a device, %d clients: p50 of one without package dbsc", clients), fmt.Sprintf("at most %gx", boundReadMost),
			func(r *results) (float64, bool) {
				v := ratio(r.find(boundRead, "Postgres", oursBound, clients, 0).P50, r.find(boundRead, "Postgres", ours, clients, 0).P50)
				return v, v <= boundReadMost
			}, nil})
	}
	return all
}
