// Package sessionui has the pages people look at, "your devices" for a user and
// the admin's view of everybody's sessions. Each is an [http.Handler] that
// works without JavaScript and speaks JSON on the same routes:
//
//	account, err := sessionui.Account(sessions, &sessionui.AccountOptions{
//		Prefix:            "/devices",
//		ReauthenticateURL: "/reauth",
//	})
//	mux.Handle("/devices/", account)
//
//	admin, err := sessionui.Admin(sessions, &sessionui.AdminOptions{
//		Prefix:    "/admin/sessions",
//		Authorize: isAdmin,
//	})
//	mux.Handle("/admin/sessions/", admin)
//
// [NotMe] is the page behind a link in a mail, on which users say that a sign-in was
// somebody else's. What follows is about the other two.
//
// A handler can be mounted under any prefix, which is either removed before it
// (http.StripPrefix) or named in the options. Every link is relative, so that a
// proxy may add another one. Both load the session themselves, and may be inside
// the LoadAndSave of the application as well.
//
// # Requests that change something
//
// No GET changes anything. A POST must prove that it comes from a page of the
// same origin ([http.CrossOriginProtection]). The proof is a Sec-Fetch-Site
// header that says same-origin, or an Origin that matches Host. A POST without
// either is refused, so a program that uses the JSON API sends a Sec-Fetch-Site
// of same-origin itself. An Origin that says null is always refused, and so is
// a Sec-Fetch-Site that says none.
//
// # JSON
//
// A client that prefers application/json gets it, and sends forms or JSON
// objects of the same fields. Errors are application/problem+json (RFC 9457).
// The routes are described in the OpenAPI document that each handler serves as
// openapi.json.
//
// # Words and looks
//
// The pages are in English, German, French, Spanish, Japanese and Arabic. The
// Accept-Language header chooses, or the option Language.
//
// Every text is a label, see [DefaultLabels]. Every template, and style.css,
// can be replaced by a file of the same name. The comment at its head says what
// it is given. The Content-Security-Policy allows no script at all, and styles
// from the handler only.
package sessionui
