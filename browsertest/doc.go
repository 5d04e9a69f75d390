// Package browsertest looks at the pages of sessionui as users do: in Chromium,
// with examples/devices around them. It is a module of its own, so that what
// drives a browser reaches nobody's go.mod.
//
// The tests need Chromium, and npm for axe-core, or what the environment names in
// USERSESSION_TEST_CHROMIUM and USERSESSION_TEST_AXE; see internal/testserver.
//
//	USERSESSION_TEST_DEPTH=full go test -run TestScreenshots -images ../docs/images .
//
// makes the pictures of the documentation anew.
package browsertest
