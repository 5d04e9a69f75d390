package main

import (
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The names of the whole servers, as they are in the tables.
const (
	serverPq         = "usersession, lib/pq"
	serverPgx        = "usersession, pgx (stdlib)"
	serverNative     = "usersession, pgx native"
	serverByHand     = "scs + index by hand, lib/pq"
	serverByHandPgx  = "scs + index by hand, pgxpool"
	serverSessionup  = "sessionup's design, lib/pq"
	serverGorilla    = "gorilla + redistore + index by hand"
	serverDjango     = "Django + UserSession"
	serverBetterAuth = "Better Auth"
)

// servers are all whole servers.
var servers = []wholeServer{
	{name: serverPq, command: goServer("usersession-pq"), ready: listening, fill: fillOurs},
	{name: serverPgx, command: goServer("usersession-pgx"), ready: listening, fill: fillOurs},
	{name: serverNative, command: goServer("usersession-native"), ready: listening, fill: fillOurs},
	{name: serverByHand, command: goServer("scs-postgresstore"), ready: listening, fill: fillByHand},
	{name: serverByHandPgx, command: goServer("scs-pgxstore"), ready: listening, fill: fillByHand},
	{name: serverSessionup, command: goServer("sessionup"), ready: listening, fill: fillSessionup},
	{name: serverGorilla, command: goServer("gorilla-redistore"), ready: listening, fill: fillIndex, redis: "session_"},
	{
		name:    serverDjango,
		missing: foreign(djangoVersion, "apt-get install --no-install-recommends python3-django python3-psycopg2 gunicorn"),
		prepare: func(b *bench, dsn string) error {
			_, err := tool(filepath.Join(b.source, "django"), []string{"DATABASE_URL=" + dsn, "DJANGO_SETTINGS_MODULE=settings"},
				python, "-B", "-m", "django", "migrate", "--verbosity=0")
			return err
		},
		command: func(b *bench, dsn, _, port string) []string {
			return []string{python, "-B", "-m", "gunicorn", "--chdir", filepath.Join(b.source, "django"), "--env", "DATABASE_URL=" + dsn,
				"--bind", "127.0.0.1:" + port, "--worker-class", "gthread", "--workers", "2", "--threads", "4", "--keep-alive", "600", "wsgi:application"}
		},
		ready: "Booting worker",
		fill:  fillDjango,
	},
	{
		name:    serverBetterAuth,
		missing: foreign(betterAuthVersion, "npm cannot install bench/servers/betterauth/package.json"),
		prepare: func(b *bench, dsn string) error {
			dir, err := betterAuthDir()
			if err == nil {
				_, err = tool(dir, nil, "node", "server.mjs", "migrate", dsn)
			}
			return err
		},
		command: func(_ *bench, dsn, _, port string) []string {
			dir, _ := betterAuthDir() // prepare has asked before
			return []string{"/usr/bin/env", "node", filepath.Join(dir, "server.mjs"), port, dsn}
		},
		ready: listening,
		fill:  fillBetterAuth,
	},
}

const listening = "listening on"

// What fills the tables: five sessions of each user, four of those who log in later.
const (
	fillOurs = `
INSERT INTO user_sessions (id, user_id, session_key, created_at, authenticated_at, last_seen_at, expires_at, ip, user_agent, meta)
SELECT {id}, {user}, {key}, now(), now(), now(), now() + interval '23 hours', '192.0.2.1', '` + userAgent + `', '{}'
FROM {sessions};
INSERT INTO sessions (token, data, expiry)
SELECT {key}, convert_to(repeat('x', 260), 'UTF8'), now() + interval '23 hours'
FROM {sessions}`
	fillIndex = `
INSERT INTO sessions_of_users (token, user_id, ip, user_agent)
SELECT {key}, {user}, '192.0.2.1', '` + userAgent + `'
FROM {sessions}`
	fillByHand = fillIndex + `;
INSERT INTO sessions (token, data, expiry)
SELECT {key}, convert_to(repeat('x', 260), 'UTF8'), now() + interval '23 hours'
FROM {sessions}`
	fillSessionup = `
INSERT INTO sessionup
SELECT now(), now() + interval '23 hours', {key}, {user}, '192.0.2.1', 'Linux', 'Firefox'
FROM {sessions}`
	fillDjango = `
INSERT INTO auth_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT g + 1, '!', false, 'user' || g, '', '', '', false, true, now()
FROM generate_series(0, {users} - 1) AS g;
INSERT INTO django_session (session_key, session_data, expire_date)
SELECT left({key}, 40), repeat('x', 260), now() + interval '23 hours'
FROM {sessions};
INSERT INTO accounts_usersession (user_id, session_id)
SELECT {number} + 1, left({key}, 40)
FROM {sessions}`
	fillBetterAuth = `
INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
SELECT 'id' || g, 'user' || g, 'user' || g || '@example.test', true, now(), now()
FROM generate_series(0, {users} - 1) AS g;
INSERT INTO account (id, "accountId", "providerId", "userId", password, "createdAt", "updatedAt")
SELECT 'id' || g, 'id' || g, 'credential', 'id' || g, 'password', now(), now()
FROM generate_series(0, {users} - 1) AS g;
INSERT INTO session (id, token, "userId", "expiresAt", "createdAt", "updatedAt", "ipAddress", "userAgent")
SELECT {id}, {key}, 'id' || {number}, now() + interval '23 hours', now(), now(), '192.0.2.1', '` + userAgent + `'
FROM {sessions}`
)

// goServer is a server in Go, by its name there.
func goServer(name string) func(b *bench, dsn, redis, port string) []string {
	return func(b *bench, dsn, redis, port string) []string {
		return []string{b.binary, name, "127.0.0.1:" + port, dsn, redis}
	}
}

// tool runs a program to its end and returns what it printed.
func tool(dir string, env []string, program string, args ...string) (string, error) {
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", program, err, text)
	}
	return text, err
}

// foreign leaves a server out that is not installed, or takes too long for a test.
func foreign(look func(b *bench) (version string, err error), install string) func(b *bench) string {
	return func(b *bench) string {
		if !b.foreign {
			return "only Go programs are measured in a test"
		}
		version, err := look(b)
		if err != nil {
			log.Print(err)
			return "is not installed; " + install
		}
		b.Machine.Peers = strings.TrimPrefix(b.Machine.Peers+", "+version, ", ")
		return ""
	}
}

// python is that of the distribution, which has its packages.
const python = "/usr/bin/python3"

func djangoVersion(*bench) (string, error) {
	return tool("", nil, python, "-c", `import django, gunicorn, psycopg2
print("Django " + django.get_version() + " with gunicorn " + gunicorn.__version__)`)
}

// betterAuthDir is where npm installs Better Auth: not in the repository, whose tests
// read all that is there.
func betterAuthDir() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "usersession-bench", "betterauth"), err
}

func betterAuthVersion(b *bench) (string, error) {
	dir, err := betterAuthDir()
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	for _, name := range []string{"package.json", "server.mjs"} {
		var text []byte
		if err == nil {
			text, err = os.ReadFile(filepath.Join(b.source, "betterauth", name))
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o644)
		}
	}
	if err == nil {
		_, err = tool(dir, nil, "npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock")
	}
	if err != nil {
		return "", err
	}
	return tool(dir, nil, "node", "-p", `"Better Auth " + JSON.parse(fs.readFileSync("node_modules/better-auth/package.json")).version + " on node " + process.versions.node`)
}
