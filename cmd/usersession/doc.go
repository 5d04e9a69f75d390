// Command usersession is the operator's tool. It lists and revokes sessions, looks
// after their tables and says what is wrong with a set-up.
//
// Data go to stdout and everything else to stderr. It never prints a token or a store
// key, and no password of a URL.
package main
