-- name: {{.Table}}
CREATE TABLE IF NOT EXISTS {{.Index}} (
	id               text        NOT NULL{{if not .Partitions}} PRIMARY KEY{{end}},
	user_id          {{.UserIDType}}{{with .Users}} REFERENCES {{.}} ON DELETE SET NULL{{end}},
	session_key      text        NOT NULL{{if not .Partitions}} UNIQUE{{end}},
	other_key        text,
	created_at       timestamptz NOT NULL,
	authenticated_at timestamptz NOT NULL,
	last_seen_at     timestamptz NOT NULL,
	expires_at       timestamptz NOT NULL,
	ip               text        NOT NULL,
	user_agent       text        NOT NULL,
	meta             jsonb       NOT NULL,
	ended_at         timestamptz,
	ended_by         text        NOT NULL DEFAULT '',
	reason           text        NOT NULL DEFAULT '',
	purge_at         timestamptz,
	place            text        NOT NULL DEFAULT '',
	idle_timeout     bigint,
	last_ip          text,
	last_user_agent  text,
	idp_issuer       text,
	idp_subject      text,
	idp_session      text,
	device_key       text,
	device_bound_at  timestamptz,
	device_secret    text,
	device_challenge text,
	device_challenge_before text,
	renewed_at       timestamptz
){{if .Partitions}} PARTITION BY HASH (user_id){{else}} WITH (fillfactor = 90){{end}};
{{range .Partitions}}CREATE TABLE IF NOT EXISTS {{.Name}} PARTITION OF {{$.Index}} (
	PRIMARY KEY (id),
	UNIQUE (session_key)
) FOR VALUES WITH (MODULUS {{.Modulus}}, REMAINDER {{.Remainder}}) WITH (fillfactor = 90);
{{end}}CREATE INDEX IF NOT EXISTS "{{.Table}}_user" ON {{.Index}} (user_id, ended_at);
CREATE INDEX IF NOT EXISTS "{{.Table}}_expires" ON {{.Index}} (expires_at) WHERE ended_at IS NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_purge" ON {{.Index}} (purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_due" ON {{.Index}} (user_id, purge_at) WHERE purge_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_idp_session" ON {{.Index}} (idp_session, idp_issuer) WHERE idp_session IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_idp_subject" ON {{.Index}} (idp_subject, idp_issuer) WHERE idp_subject IS NOT NULL;
CREATE INDEX IF NOT EXISTS "{{.Table}}_other" ON {{.Index}} (other_key) WHERE other_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS {{.Fence}} (
	user_id    {{.UserIDType}} NOT NULL PRIMARY KEY,
	not_before timestamptz NOT NULL,
	id         text        NOT NULL,
	disabled   smallint    NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_fences_due" ON {{.Fence}} (not_before);
CREATE TABLE IF NOT EXISTS {{.SignOut}} (
	id         text        NOT NULL PRIMARY KEY,
	not_before timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS "{{.Table}}_signouts_due" ON {{.SignOut}} (not_before);
CREATE TABLE IF NOT EXISTS {{.Replica}} (
	id    text NOT NULL PRIMARY KEY,
	beats bigint NOT NULL,
	lease bigint NOT NULL
);
CREATE TABLE IF NOT EXISTS {{.Inbox}} (
	id      text NOT NULL PRIMARY KEY,
	replica text NOT NULL,
	names   text NOT NULL
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
	token  text        NOT NULL PRIMARY KEY,
	data   bytea       NOT NULL,
	expiry timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS "{{.DataTable}}_expiry_idx" ON {{.Data}} (expiry);
-- down
DROP TABLE {{.Data}};
{{end}}
