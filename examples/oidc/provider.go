package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// provider is an identity provider that is good enough to try the application: it asks
// for a name, and for no password.
type provider struct {
	*http.ServeMux
	issuer, app string
	key         *ecdsa.PrivateKey

	mu       sync.Mutex
	sessions map[string]string // sid: user
	codes    map[string]grant
}

// grant is what a code stands for.
type grant struct{ sid, nonce, challenge string }

func newProvider(issuer, app string) (*provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &provider{ServeMux: http.NewServeMux(), issuer: issuer, app: app, key: key, sessions: map[string]string{}, codes: map[string]grant{}}
	p.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	p.HandleFunc("GET /keys", p.keys)
	p.HandleFunc("/authorize", p.authorize)
	p.HandleFunc("POST /token", p.token)
	p.HandleFunc("GET /{$}", p.home)
	p.HandleFunc("POST /logout", p.logout)
	return p, nil
}

func (p *provider) discovery(w http.ResponseWriter, r *http.Request) {
	reply(w, map[string]any{
		"issuer": p.issuer, "authorization_endpoint": p.issuer + "/authorize", "token_endpoint": p.issuer + "/token", "jwks_uri": p.issuer + "/keys",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"ES256"},
		"backchannel_logout_supported": true, "backchannel_logout_session_supported": true,
	})
}

func (p *provider) keys(w http.ResponseWriter, r *http.Request) {
	reply(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: p.key.Public(), KeyID: "1", Algorithm: "ES256", Use: "sig"}}})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v)
}

var providerPage = template.Must(template.New("").Parse(`<!doctype html>
<meta charset="utf-8"><title>Provider</title>
{{if .User}}<p>The provider knows you as {{.User}}.
<form method="post" action="/logout"><button>Sign out</button> <button name="everywhere" value="1">Sign out on all devices</button></form>
{{else if .Query}}<form method="post" action="/authorize?{{.Query}}">Name: <input name="user" value="ada" autofocus> <button>Sign in at the provider</button></form>
{{else}}<p>You are signed out. <a href="{{.App}}">Back to the application</a>
{{end}}`))

// current returns the session of a browser at the provider.
func (p *provider) current(r *http.Request) (sid, user string) {
	c, err := r.Cookie("provider")
	if err != nil {
		return "", ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.Value, p.sessions[c.Value]
}

func (p *provider) home(w http.ResponseWriter, r *http.Request) {
	_, user := p.current(r)
	w.Header().Set("Cache-Control", "no-store")
	providerPage.Execute(w, map[string]any{"User": user, "App": p.app})
}

// authorize asks who the user is, unless it knows, and sends the browser back with a code.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != clientID || q.Get("redirect_uri") != p.app+callbackPath {
		http.Error(w, "unknown application", http.StatusBadRequest)
		return
	}
	sid, user := p.current(r)
	if user == "" {
		if user = strings.TrimSpace(r.PostFormValue("user")); user == "" {
			providerPage.Execute(w, map[string]any{"Query": template.URL(q.Encode())})
			return
		}
		sid = rand.Text()
		p.mu.Lock()
		p.sessions[sid] = user
		p.mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "provider", Value: sid, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
	}
	code := rand.Text()
	p.mu.Lock()
	p.codes[code] = grant{sid, q.Get("nonce"), q.Get("code_challenge")}
	p.mu.Unlock()
	http.Redirect(w, r, p.app+callbackPath+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusSeeOther)
}

// token gives an ID token for a code, once.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	code := r.PostFormValue("code")
	challenge := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	p.mu.Lock()
	g, found := p.codes[code]
	delete(p.codes, code)
	user := p.sessions[g.sid]
	p.mu.Unlock()
	if id != clientID || secret != clientSecret || !found || user == "" || g.challenge != base64.RawURLEncoding.EncodeToString(challenge[:]) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	now := time.Now()
	idToken, err := p.sign("JWT", map[string]any{
		"iss": p.issuer, "aud": clientID, "sub": user, "sid": g.sid, "nonce": g.nonce, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	})
	if err != nil {
		http.Error(w, "the token could not be signed", http.StatusInternalServerError)
		return
	}
	reply(w, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 300, "id_token": idToken})
}

// logout ends the session of the browser, or all of its user, and tells the application.
func (p *provider) logout(w http.ResponseWriter, r *http.Request) {
	sid, user := p.current(r)
	claims := map[string]any{"sub": user, "sid": sid}
	p.mu.Lock()
	delete(p.sessions, sid)
	if r.PostFormValue("everywhere") != "" {
		delete(claims, "sid")
		for other, u := range p.sessions {
			if u == user {
				delete(p.sessions, other)
			}
		}
	}
	p.mu.Unlock()
	if user != "" {
		if err := p.tell(claims); err != nil {
			log.Print("the application was not told: ", err) // a real provider tries again
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// tell sends a logout token.
func (p *provider) tell(claims map[string]any) error {
	now := time.Now()
	claims["iss"], claims["aud"], claims["jti"] = p.issuer, clientID, rand.Text()
	claims["iat"], claims["exp"] = now.Unix(), now.Add(2*time.Minute).Unix()
	claims["events"] = map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	token, err := p.sign("logout+jwt", claims)
	if err != nil {
		return err
	}
	res, err := http.PostForm(p.app+logoutPath, url.Values{"logout_token": {token}})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the application answers %s", res.Status)
	}
	return nil
}

func (p *provider) sign(typ jose.ContentType, claims map[string]any) (string, error) {
	var payload bytes.Buffer
	if err := json.NewEncoder(&payload).Encode(claims); err != nil {
		return "", err
	}
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: p.key, KeyID: "1"}}
	signer, err := jose.NewSigner(key, (&jose.SignerOptions{}).WithType(typ))
	if err != nil {
		return "", err
	}
	jws, err := signer.Sign(payload.Bytes())
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}
