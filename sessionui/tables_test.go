package sessionui_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-296ca7ab/usersession"
	"github.com/seed-296ca7ab/usersession/sessionui"
)

// TestLabelsAreUsed keeps the table of labels and the program together.
func TestLabelsAreUsed(t *testing.T) {
	labels := sessionui.DefaultLabels()
	var text strings.Builder
	for _, dir := range []string{".", "templates"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if n := e.Name(); !strings.HasPrefix(n, "labels") && !strings.HasSuffix(n, "_test.go") && !e.IsDir() {
				b, err := os.ReadFile(dir + "/" + n)
				if err != nil {
					t.Fatal(err)
				}
				text.Write(b)
			}
		}
	}
	for _, m := range regexp.MustCompile(`\.T "([^"]+)"|[.(]T\("([^"]+)"[,)]|"(error\.[a-z]+)"`).FindAllStringSubmatch(text.String(), -1) {
		if key := m[1] + m[2] + m[3]; labels[key] == "" && !strings.HasSuffix(key, ".") {
			t.Errorf("there is no label %q", key)
		}
	}
	for key := range labels {
		stem := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".other")
		family := key[:strings.LastIndex("."+key, ".")]
		if !strings.Contains(text.String(), `"`+key+`"`) && !strings.Contains(text.String(), `"`+stem+`"`) && !strings.Contains(text.String(), `"`+family+`"`) && !strings.HasPrefix(key, "time.") {
			t.Errorf("the label %q is not used", key)
		}
	}
	for _, reason := range []string{
		usersession.ReasonLogout, usersession.ReasonRevoked, usersession.ReasonReplaced, usersession.ReasonEvicted,
		usersession.ReasonExpired, usersession.ReasonAborted, usersession.ReasonUserDeleted, usersession.ReasonDataLost,
		usersession.ReasonPasswordChanged, usersession.ReasonFactorChanged, usersession.ReasonAccountDisabled, usersession.ReasonNotMe, usersession.ReasonTokenReused,
	} {
		if labels["reason."+reason] == "" {
			t.Errorf("there is no label for the reason %q", reason)
		}
	}
	labels["lang"] = "xx"
	if sessionui.DefaultLabels()["lang"] != "en" {
		t.Error("DefaultLabels returns the table itself")
	}
}

// TestDocPage keeps docs/pages.md and the program together.
func TestDocPage(t *testing.T) {
	page, err := os.ReadFile("../docs/pages.md")
	if err != nil {
		t.Fatal(err)
	}
	var parts []string
	templates, err := os.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range templates {
		parts = append(parts, "`"+e.Name()+"`")
	}
	for _, o := range []any{sessionui.AccountOptions{}, sessionui.AdminOptions{}, sessionui.NotMeOptions{}} {
		for f := range reflect.TypeOf(o).Fields() {
			parts = append(parts, f.Name)
		}
	}
	for name, prefix := range map[string]string{"account": "/devices", "admin": "/admin/sessions"} {
		for _, r := range sessionui.Routes(name) {
			method, path, _ := strings.Cut(r, " ")
			if path == "/style.css" || path == "/openapi.json" || path == "/jobs" || method == "GET" && name == "account" && path != "/" {
				continue // the rest of what the OpenAPI document has
			}
			parts = append(parts, fmt.Sprintf("%-4s ", method)+prefix+path)
		}
	}
	for _, part := range parts {
		if !strings.Contains(string(page), part) {
			t.Errorf("docs/pages.md does not have %q", part)
		}
	}
}

type object = map[string]any

// openAPI reads a document.
func openAPI(t *testing.T, name string) object {
	t.Helper()
	text, err := os.ReadFile("openapi/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var root object
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// resolve follows a $ref.
func resolve(root object, v any) object {
	o := v.(object)
	ref, ok := o["$ref"].(string)
	if !ok {
		return o
	}
	var at any = root
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(object)[part]
	}
	return resolve(root, at)
}

// TestOpenAPIRoutes: a document has every route, and no other.
func TestOpenAPIRoutes(t *testing.T) {
	for _, name := range []string{"account", "admin"} {
		var inDocument []string
		for path, item := range openAPI(t, name)["paths"].(object) {
			for method := range item.(object) {
				inDocument = append(inDocument, strings.ToUpper(method)+" "+path)
			}
		}
		routes := sessionui.Routes(name)
		slices.Sort(routes)
		slices.Sort(inDocument)
		if !slices.Equal(routes, inDocument) {
			t.Errorf("routes:\n%s\nin the document:\n%s", strings.Join(routes, "\n"), strings.Join(inDocument, "\n"))
		}
	}
}

// TestAdminOpenAPIFields: the document names every field, and no other.
func TestAdminOpenAPIFields(t *testing.T) {
	root := openAPI(t, "admin")
	paths := root["paths"].(object)
	for path, fields := range map[string][]string{"/": sessionui.ListFields, "/revoke": sessionui.RevokeFields} {
		var named []string
		for _, p := range paths[path].(object)["get"].(object)["parameters"].([]any) {
			named = append(named, resolve(root, p)["name"].(string))
		}
		if slices.Sort(named); !slices.Equal(named, slices.Sorted(slices.Values(fields))) {
			t.Errorf("GET %s: %q in the document, want %q", path, named, fields)
		}
	}
	body := resolve(root, paths["/revoke"].(object)["post"].(object)["requestBody"])
	want := slices.Sorted(slices.Values(append([]string{"reason", "count", "shown", "complete", "previewed_at", "csrf_token"}, sessionui.RevokeFields...)))
	for mediaType, media := range body["content"].(object) {
		named := slices.Sorted(maps.Keys(resolve(root, media.(object)["schema"])["properties"].(object)))
		if !slices.Equal(named, want) {
			t.Errorf("POST /revoke as %s: %q in the document, want %q", mediaType, named, want)
		}
	}
}
