// Package system tests what users get: replicas of a small program as processes
// of their own, with a real PostgreSQL and a real Redis, while all of them are
// killed, stopped and cut off from each other. What the clients saw is written
// down as a history and checked against a model; what is left afterwards is
// compared, row by row and key by key.
//
// "go test ./system" is one round. "USERSESSION_TEST_DEPTH=full go test ./system" is
// the short run, with every fault. "go run ./cmd/system" is the long one: it prints
// its table and writes results/system.jsonl.
package system
