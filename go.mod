module github.com/seed-296ca7ab/usersession

go 1.26.0

require (
	github.com/alexedwards/scs/v2 v2.9.0
	github.com/jmoiron/sqlx v1.4.0
	github.com/lib/pq v1.12.3
	github.com/mileusna/useragent v1.3.5
)
