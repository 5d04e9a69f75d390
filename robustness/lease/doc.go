// Package lease searches every state of the protocol by which replicas may serve a
// session from memory. It has one session, its row, its data, one or two replicas that
// keep it in memory, and somebody who ends it. Every step of each of them, every tick of
// every clock, every answer that is lost and every process that dies may come at any time.
//
// The search wants one thing: once the ending has returned nil, no request that begins
// later is served. [Mutants] leaves out one step of the protocol each, and wants the
// search to find the way to a request that is served.
//
// It imports the standard library only, and nothing of the library it is about.
package lease
