package sessionui_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-296ca7ab/usersession/sessionui"
)

type object = map[string]any

// document is an OpenAPI document and what of it has been exercised.
type document struct {
	t    *testing.T
	root object
	used map[string]bool
}

func (d *document) resolve(v any) object {
	o, ok := v.(object)
	if !ok {
		return nil
	}
	if ref, ok := o["$ref"].(string); ok {
		var at any = d.root
		for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
			at = at.(object)[part]
		}
		if at == nil {
			d.t.Fatalf("%s leads nowhere", ref)
		}
		return d.resolve(at)
	}
	return o
}

// entries returns "METHOD path status" of everything in the document.
func (d *document) entries() []string {
	var list []string
	for path, item := range d.root["paths"].(object) {
		for method, op := range item.(object) {
			for status := range op.(object)["responses"].(object) {
				list = append(list, strings.ToUpper(method)+" "+path+" "+status)
			}
		}
	}
	slices.Sort(list)
	return list
}

// check compares an answer with the document.
func (d *document) check(method, path string, w *httptest.ResponseRecorder) {
	d.t.Helper()
	where := fmt.Sprintf("%s %s %d", method, path, w.Code)
	d.used[where] = true
	item, _ := d.root["paths"].(object)[path].(object)
	op, _ := item[strings.ToLower(method)].(object)
	responses, _ := op["responses"].(object)
	response := d.resolve(responses[fmt.Sprint(w.Code)])
	if response == nil {
		d.t.Errorf("%s: not in the document; body:\n%s", where, w.Body)
		return
	}
	headers, _ := response["headers"].(object)
	for name, h := range headers {
		if h.(object)["required"] == true && w.Header().Get(name) == "" {
			d.t.Errorf("%s: no header %s", where, name)
		}
	}
	content, _ := response["content"].(object)
	mediaType, _, _ := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if w.Body.Len() == 0 && len(content) == 0 {
		return
	}
	media, ok := content[mediaType].(object)
	if !ok {
		d.t.Errorf("%s: media type %q is not in the document", where, mediaType)
		return
	}
	if strings.HasSuffix(mediaType, "json") {
		var v any
		if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
			d.t.Errorf("%s: %v", where, err)
		}
		d.valid(where, media["schema"], v)
	}
}

// valid checks a value against the part of JSON Schema that the documents use.
func (d *document) valid(at string, schema, v any) {
	d.t.Helper()
	s := d.resolve(schema)
	for keyword := range s {
		if !slices.Contains([]string{"type", "properties", "required", "additionalProperties", "items", "enum", "const", "format", "pattern", "minimum", "maximum", "minLength", "maxLength", "default", "description"}, keyword) {
			d.t.Errorf("%s: this test does not know the keyword %s", at, keyword)
		}
	}
	if c, ok := s["const"]; ok && c != v {
		d.t.Errorf("%s: %v is not %v", at, v, c)
	}
	if e, ok := s["enum"].([]any); ok && !slices.Contains(e, v) {
		d.t.Errorf("%s: %v is none of %v", at, v, e)
	}
	switch s["type"] {
	case "object":
		o, ok := v.(object)
		if !ok {
			d.t.Errorf("%s: %v is no object", at, v)
			return
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := o[name.(string)]; !ok {
				d.t.Errorf("%s: %s is missing", at, name)
			}
		}
		properties, _ := s["properties"].(object)
		for name, value := range o {
			if p, ok := properties[name]; ok {
				d.valid(at+"."+name, p, value)
			} else if extra, ok := s["additionalProperties"].(object); ok {
				d.valid(at+"."+name, extra, value)
			} else if s["additionalProperties"] == false {
				d.t.Errorf("%s: %s is not in the document", at, name)
			}
		}
	case "array":
		a, ok := v.([]any)
		if !ok {
			d.t.Errorf("%s: %v is no array", at, v)
		}
		for i, item := range a {
			d.valid(fmt.Sprintf("%s[%d]", at, i), s["items"], item)
		}
	case "string":
		text, ok := v.(string)
		if !ok {
			d.t.Errorf("%s: %v is no string", at, v)
		}
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(text) {
			d.t.Errorf("%s: %q does not match %s", at, text, p)
		}
		if n, ok := s["maxLength"].(float64); ok && float64(len([]rune(text))) > n {
			d.t.Errorf("%s: %q is too long", at, text)
		}
		if s["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, text); err != nil {
				d.t.Errorf("%s: %v", at, err)
			}
		}
	case "integer":
		n, ok := v.(float64)
		if least, bounded := s["minimum"].(float64); !ok || n != float64(int64(n)) || bounded && n < least {
			d.t.Errorf("%s: %v is no such integer", at, v)
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			d.t.Errorf("%s: %v is no boolean", at, v)
		}
	}
}

// exercise is one request, as HTML and as JSON.
type exercise struct {
	method, path, target, body string
	status, statusJSON         int
	headers                    []string
}

func (d *document) run(b *browser, list []exercise) {
	d.t.Helper()
	for _, e := range list {
		for _, v := range []struct {
			accept string
			status int
		}{{"text/html", e.status}, {"application/json", e.statusJSON}} {
			if v.status == 0 {
				continue
			}
			w := b.do(e.method, e.target, e.body, append([]string{"Accept", v.accept}, e.headers...)...)
			if w.Code != v.status {
				d.t.Errorf("%s %s as %s: status %d, want %d; body:\n%s", e.method, e.target, v.accept, w.Code, v.status, w.Body)
			}
			d.check(e.method, e.path, w)
		}
	}
}

// load gets a document as a client does.
func load(t *testing.T, b *browser, target string) *document {
	t.Helper()
	w := b.get(target)
	d := &document{t: t, used: make(map[string]bool)}
	if err := json.Unmarshal([]byte(want(t, w, 200)), &d.root); err != nil {
		t.Fatal(err)
	}
	if v, _ := d.root["openapi"].(string); !strings.HasPrefix(v, "3.1.") {
		t.Errorf("openapi is %q", v)
	}
	if url := d.root["servers"].([]any)[0].(object)["url"]; url != "." {
		t.Errorf("the server is %v, not where the document is", url)
	}
	d.check("GET", "/openapi.json", w)
	return d
}

// routes returns "METHOD path" of each route that the document has. That these are
// all there are, a test of the package sessionui says.
func (d *document) routes() []string {
	var list []string
	for path, item := range d.root["paths"].(object) {
		for method := range item.(object) {
			list = append(list, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(list)
	return list
}

// complete fails for what is in the document and was not seen.
func (d *document) complete() {
	d.t.Helper()
	for _, e := range d.entries() {
		if !d.used[e] {
			d.t.Errorf("%s is in the document, and no test has got it", e)
		}
	}
}

var (
	cross  = []string{"Sec-Fetch-Site", "cross-site"}
	inJSON = []string{"Content-Type", "application/json"}
	large  = `{"csrf_token":"` + strings.Repeat("x", 70<<10) + `"}`
)

func TestAccountOpenAPI(t *testing.T) {
	store := &faultyStore{}
	s := newSite(t, store, &sessionui.AccountOptions{ReauthenticateURL: "/reauth"}, nil)
	me := s.login("ada", firefox)
	var spare []string
	for range 4 {
		spare = append(spare, "sessions/"+s.login("ada", iphone).id+"/revoke")
	}
	const one, unknown = "/sessions/{id}/revoke", devices + "sessions/AAAAAAAAAAAAAAAAAAAAAA/revoke"
	d := load(t, me, devices+"openapi.json")
	d.run(me, []exercise{
		{"GET", "/style.css", devices + "style.css", "", 200, 200, nil},
		{"GET", one, devices + spare[0], "", 200, 200, nil},
		{"GET", one, unknown, "", 404, 404, nil},
		{"POST", one, devices + spare[0], "", 303, 0, nil},
		{"POST", one, devices + spare[1], "", 0, 200, inJSON},
		{"POST", one, devices + spare[1], "", 404, 404, nil},
		{"POST", one, devices + spare[2], "{", 400, 400, inJSON},
		{"POST", one, devices + spare[2], large, 413, 413, inJSON},
		{"POST", one, devices + spare[2], "", 403, 403, cross},
		{"GET", "/", devices, "", 200, 200, nil},
		{"GET", "/", devices + "?after=x", "", 400, 400, nil},
		{"GET", "/revoke-others", devices + "revoke-others", "", 200, 200, nil},
		{"POST", "/revoke-others", devices + "revoke-others", "[]", 400, 400, inJSON},
		{"POST", "/revoke-others", devices + "revoke-others", large, 413, 413, inJSON},
	})
	const named, name = "/sessions/{id}/name", devices + "sessions/"
	d.run(me, []exercise{
		{"GET", named, name + me.id + "/name", "", 200, 200, nil},
		{"GET", named, name + "AAAAAAAAAAAAAAAAAAAAAA/name", "", 404, 404, nil},
		{"POST", named, name + me.id + "/name", "name=Work", 303, 0, nil},
		{"POST", named, name + me.id + "/name", `{"name":"Work"}`, 0, 200, inJSON},
		{"POST", named, name + "AAAAAAAAAAAAAAAAAAAAAA/name", "name=Work", 404, 404, nil},
		{"POST", named, name + me.id + "/name", "{", 400, 400, inJSON},
		{"POST", named, name + me.id + "/name", large, 413, 413, inJSON},
		{"POST", named, name + me.id + "/name", "", 403, 403, cross},
		{"GET", "/", devices, "", 200, 200, nil},
	})
	store.set(func(s *faultyStore) { s.failDelete = true })
	d.run(me, []exercise{
		{"POST", one, devices + spare[2], "", 303, 202, nil},
		{"POST", "/revoke-others", devices + "revoke-others", "", 303, 202, nil},
	})
	store.set(func(s *faultyStore) { s.failDelete = false })
	d.run(me, []exercise{{"POST", "/revoke-others", devices + "revoke-others", "", 303, 200, nil}})

	s.shift(me.id, "authenticated_at", time.Hour)
	d.run(me, []exercise{
		{"GET", one, unknown, "", 303, 403, nil},
		{"POST", one, unknown, "", 403, 403, nil},
		{"GET", "/revoke-others", devices + "revoke-others", "", 303, 403, nil},
		{"POST", "/revoke-others", devices + "revoke-others", "", 403, 403, nil},
	})
	everything := func(status int) (list []exercise) {
		for _, r := range d.routes() {
			method, path, _ := strings.Cut(r, " ")
			if path != "/style.css" && path != "/openapi.json" {
				list = append(list, exercise{method, path, devices + strings.ReplaceAll(path[1:], "{id}", me.id), "", status, status, nil})
			}
		}
		return list
	}
	d.run(s.anonymous(), everything(401))
	s.db.Close() // the index is down, the store is not
	d.run(me, everything(503))
	store.set(func(s *faultyStore) { s.failFind = true }) // the session cannot be loaded
	d.run(me, everything(503))
	d.complete()
}

func TestAdminOpenAPI(t *testing.T) {
	store := &faultyStore{}
	s := newSite(t, store, nil, nil)
	root := s.login("root", firefox)
	ids := make([]string, 4)
	for i := range ids {
		ids[i] = s.login("ada", iphone).id
	}
	const one = "/sessions/{id}/revoke"
	post := func(i int) string { return "/admin/sessions/" + ids[i] + "/revoke" }
	d := load(t, root, "/admin/openapi.json")
	d.run(root, []exercise{
		{"GET", "/style.css", "/admin/style.css", "", 200, 200, nil},
		{"GET", "/", "/admin/?limit=2", "", 200, 200, nil},
		{"GET", "/", "/admin/?limit=two", "", 400, 400, nil},
		{"GET", "/sessions/{id}", "/admin/sessions/" + ids[0] + "?user=ada", "", 200, 200, nil},
		{"GET", "/sessions/{id}", "/admin/sessions/" + ids[0] + "?user=bob", "", 404, 404, nil},
		{"POST", one, post(0), "user=ada&reason=x", 303, 404, nil},
		{"POST", one, post(1), `{"user":"ada"}`, 0, 200, inJSON},
		{"POST", one, post(1), `"ada"`, 400, 400, inJSON},
		{"POST", one, post(1), large, 413, 413, inJSON},
		{"GET", "/sessions/{id}", "/admin/sessions/" + ids[0] + "?user=ada", "", 200, 200, nil},
		{"GET", "/", "/admin/?state=ended", "", 200, 200, nil},
		{"GET", "/revoke", "/admin/revoke?user=ada", "", 200, 200, nil},
		{"GET", "/revoke", "/admin/revoke", "", 400, 400, nil},
		{"POST", "/revoke", "/admin/revoke", "user=ada", 400, 400, nil},
		{"POST", "/revoke", "/admin/revoke", large, 413, 413, inJSON},
		{"POST", "/jobs/{id}/stop", "/admin/jobs/x/stop", "{", 400, 400, inJSON},
		{"POST", "/jobs/{id}/stop", "/admin/jobs/x/stop", large, 413, 413, inJSON},
		{"POST", "/jobs/{id}/stop", "/admin/jobs/x/stop", "", 404, 404, nil},
		{"GET", "/jobs/{id}", "/admin/jobs/x", "", 404, 404, nil},
	})
	store.set(func(s *faultyStore) { s.failDelete = true })
	d.run(root, []exercise{{"POST", one, post(2), "user=ada", 303, 202, nil}})
	store.set(func(s *faultyStore) { s.failDelete = false })

	for range 12 {
		s.login("bob", firefox)
	}
	d.run(root, []exercise{{"POST", "/revoke", "/admin/revoke", "user=bob&reason=x&count=0", 409, 409, nil}})
	gate := make(chan struct{})
	store.set(func(s *faultyStore) { s.gate = gate })
	w := root.do("POST", "/admin/revoke", `{"user":["bob","eve"],"reason":"x","count":12,"except_current":true}`, "Content-Type", "application/json")
	d.check("POST", "/revoke", w)
	want(t, w, 202)
	job := follow(t, w, "/admin/revoke")
	for range maxRunning - 1 {
		want(t, root.do("POST", "/admin/revoke", "user=ada&reason=x&count=1"), 303)
	}
	d.run(root, []exercise{
		{"POST", "/revoke", "/admin/revoke", "user=ada&reason=x&count=1", 503, 503, nil},
		{"GET", "/jobs", "/admin/jobs", "", 200, 200, nil},
		{"GET", "/jobs/{id}", job, "", 200, 200, nil},
		{"POST", "/jobs/{id}/stop", job + "/stop", "", 303, 200, nil},
	})
	close(gate)
	finish(t, root, job)
	for range 60 { // until one of the others is done
		if w = root.do("POST", "/admin/revoke", "user=nobody&reason=x&count=0"); w.Code == 303 {
			break
		}
		finish(t, root, job)
	}
	d.check("POST", "/revoke", w)
	d.run(root, []exercise{{"GET", "/jobs/{id}", job, "", 200, 200, nil}, {"GET", "/jobs", "/admin/jobs", "", 200, 200, nil}})

	everything := func(status int) (list []exercise) {
		for _, r := range d.routes() {
			method, path, _ := strings.Cut(r, " ")
			if path != "/style.css" {
				list = append(list, exercise{method, path, "/admin" + strings.ReplaceAll(path, "{id}", ids[3]) + "?user=ada", "user=ada&reason=x&count=1", status, status, nil})
			}
		}
		return list
	}
	d.run(s.anonymous(), everything(403))
	s.db.Close()
	for _, e := range everything(503) {
		if !strings.HasPrefix(e.path, "/jobs") && e.path != "/openapi.json" && e.path != "/revoke" {
			d.run(root, []exercise{e})
		}
	}
	d.run(root, []exercise{{"GET", "/revoke", "/admin/revoke?user=ada", "", 503, 503, nil}})
	store.set(func(s *faultyStore) { s.failFind = true })
	d.run(root, everything(503))
	d.complete()
}
