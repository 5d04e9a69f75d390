-- name: {{.Table}}
CREATE TABLE IF NOT EXISTS {{.Index}} (
	id               VARCHAR(22)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	user_id          {{.UserIDType}} NULL,
	session_key      CHAR(43)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	other_key        VARCHAR(44)  CHARACTER SET ascii COLLATE ascii_bin NULL,
	created_at       DATETIME(6)  NOT NULL,
	authenticated_at DATETIME(6)  NOT NULL,
	last_seen_at     DATETIME(6)  NOT NULL,
	expires_at       DATETIME(6)  NOT NULL,
	ip               VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	user_agent       VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
	meta             LONGTEXT     CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (JSON_VALID(meta)),
	ended_at         DATETIME(6)  NULL,
	ended_by         VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	reason           VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '',
	purge_at         DATETIME(6)  NULL,
	place            VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT '',
	idle_timeout     BIGINT       NULL,
	last_ip          VARCHAR(45)  CHARACTER SET ascii COLLATE ascii_bin NULL,
	last_user_agent  VARCHAR(512) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
	idp_issuer       VARBINARY(255) NULL,
	idp_subject      VARBINARY(255) NULL,
	idp_session      VARBINARY(255) NULL,
	device_key       VARCHAR(1024) CHARACTER SET ascii COLLATE ascii_bin NULL,
	device_bound_at  DATETIME(6)  NULL,
	device_secret    VARCHAR(43)  CHARACTER SET ascii COLLATE ascii_bin NULL,
	device_challenge VARCHAR(43)  CHARACTER SET ascii COLLATE ascii_bin NULL,
	device_challenge_before VARCHAR(43) CHARACTER SET ascii COLLATE ascii_bin NULL,
	renewed_at       DATETIME(6)  NULL,
	UNIQUE KEY `{{.Table}}_key` (session_key),
	KEY `{{.Table}}_user` (user_id, ended_at),
	KEY `{{.Table}}_expires` (ended_at, expires_at),
	KEY `{{.Table}}_purge` (purge_at),
	KEY `{{.Table}}_due` (user_id, purge_at),
	KEY `{{.Table}}_idp_session` (idp_session, idp_issuer),
	KEY `{{.Table}}_idp_subject` (idp_subject, idp_issuer),
	KEY `{{.Table}}_other` (other_key){{with .Users}},
	FOREIGN KEY (user_id) REFERENCES {{.}} ON DELETE SET NULL{{end}}
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {{.Lock}} (
	user_hash CHAR(43) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {{.Fence}} (
	user_id    {{.UserIDType}} NOT NULL PRIMARY KEY,
	not_before DATETIME(6)  NOT NULL,
	id         VARCHAR(22)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	disabled   TINYINT      NOT NULL DEFAULT 0,
	KEY `{{.Table}}_fences_due` (not_before)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {{.SignOut}} (
	id         CHAR(43)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	not_before DATETIME(6) NOT NULL,
	KEY `{{.Table}}_signouts_due` (not_before)
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {{.Replica}} (
	id    VARCHAR(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	beats BIGINT      NOT NULL,
	lease BIGINT      NOT NULL
) ENGINE=InnoDB;
CREATE TABLE IF NOT EXISTS {{.Inbox}} (
	id      VARCHAR(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	replica VARCHAR(22) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	names   LONGTEXT    CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	KEY `{{.Table}}_inbox_replica` (replica)
) ENGINE=InnoDB;
-- down
DROP TABLE {{.Inbox}};
DROP TABLE {{.Replica}};
DROP TABLE {{.SignOut}};
DROP TABLE {{.Fence}};
DROP TABLE {{.Lock}};
DROP TABLE {{.Index}};
{{if .Data}}-- name: {{.DataTable}}
CREATE TABLE IF NOT EXISTS {{.Data}} (
	token  CHAR(43)    CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
	data   MEDIUMBLOB  NOT NULL,
	expiry DATETIME(6) NOT NULL,
	KEY `{{.DataTable}}_expiry_idx` (expiry)
) ENGINE=InnoDB;
-- down
DROP TABLE {{.Data}};
{{end}}
