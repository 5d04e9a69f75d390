// Package compat holds the tests that need a database: every behaviour on every
// database and Store, and goose. Its folders hold those of the Manager (manager),
// of what a database is asked and answers (database), of stores that are not of
// the root module (stores), and of the pages (sessionui). It is a module of its
// own, so that no driver reaches a user's go.mod.
package compat
