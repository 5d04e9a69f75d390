-- name: {{.Table}}
CREATE TABLE IF NOT EXISTS {{.Index}} (
	id               TEXT    NOT NULL PRIMARY KEY,
	user_id          {{.UserIDType}}{{with .Users}} REFERENCES {{.}} ON DELETE SET NULL{{end}},
	session_key      TEXT    NOT NULL UNIQUE,
	other_key        TEXT,
	created_at       INTEGER NOT NULL,
	authenticated_at INTEGER NOT NULL,
	last_seen_at     INTEGER NOT NULL,
	expires_at       INTEGER NOT NULL,
	ip               TEXT    NOT NULL,
	user_agent       TEXT    NOT NULL,
	meta             TEXT    NOT NULL,
	ended_at         INTEGER,
	ended_by         TEXT    NOT NULL DEFAULT '',
	reason           TEXT    NOT NULL DEFAULT '',
	purge_at         INTEGER,
	place            TEXT    NOT NULL DEFAULT '',
	idle_timeout     INTEGER,
	last_ip          TEXT,
	last_user_agent  TEXT,
	idp_issuer       TEXT,
	idp_subject      TEXT,
	idp_session      TEXT,
	device_key       TEXT,
	device_bound_at  INTEGER,
	device_secret    TEXT,
	device_challenge TEXT,
	device_challenge_before TEXT,
	renewed_at       INTEGER
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_user" ON {{.Index}} (user_id, ended_at);
CREATE INDEX IF NOT EXISTS "{{.Table}}_expires" ON {{.Index}} (expires_at) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_purge" ON {{.Index}} (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_due" ON {{.Index}} (user_id, purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_idp_session" ON {{.Index}} (idp_session, idp_issuer) WHERE idp_session IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_idp_subject" ON {{.Index}} (idp_subject, idp_issuer) WHERE idp_subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_other" ON {{.Index}} (other_key) WHERE other_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS {{.Fence}} (
	user_id    {{.UserIDType}} NOT NULL UNIQUE,
	not_before INTEGER NOT NULL,
	id         TEXT    NOT NULL,
	disabled   INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_fences_due" ON {{.Fence}} (not_before);
CREATE TABLE IF NOT EXISTS {{.SignOut}} (
	id         TEXT    NOT NULL PRIMARY KEY,
	not_before INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_signouts_due" ON {{.SignOut}} (not_before);
CREATE TABLE IF NOT EXISTS {{.Replica}} (
	id    TEXT NOT NULL PRIMARY KEY,
	beats INTEGER NOT NULL,
	lease INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS {{.Inbox}} (
	id      TEXT NOT NULL PRIMARY KEY,
	replica TEXT NOT NULL,
	names   TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_inbox_replica" ON {{.Inbox}} (replica);
-- down
DROP TABLE {{.Inbox}};
DROP TABLE {{.Replica}};
DROP TABLE {{.SignOut}};
DROP TABLE {{.Fence}};
DROP TABLE {{.Index}};
{{if .Data}}-- name: {{.DataTable}}
CREATE TABLE IF NOT EXISTS {{.Data}} (
	token  TEXT NOT NULL PRIMARY KEY,
	data   BLOB NOT NULL,
	expiry REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS "{{.DataTable}}_expiry_idx" ON {{.Data}} (expiry);
-- down
DROP TABLE {{.Data}};
{{end}}
