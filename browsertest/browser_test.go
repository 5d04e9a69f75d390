package browsertest_test

import (
	"context"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/seed-296ca7ab/usersession/internal/testserver"
)

// patience bounds one step on a page.
const patience = 30 * time.Second

// newBrowser starts a Chromium with an empty profile.
func newBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	fonts, err := filepath.Abs("testdata/fonts.conf")
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(testserver.Chromium(t)),
		chromedp.NoSandbox, // as root there is none; the pages are our own
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("lang", "en-US"),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Env("FONTCONFIG_FILE="+fonts),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("Chromium does not start: ", err)
	}
	return ctx
}

// tab is a page with cookies of its own.
type tab struct {
	t   *testing.T
	s   *site
	ctx context.Context

	mu       sync.Mutex
	problems []string // what the browser complains about
}

// look says how a tab looks at pages.
type look struct {
	agent     string // "": Chromium's own
	dark      bool
	width     int64 // 0: 1100
	scale     float64
	noScripts bool
	language  string // Accept-Language; "": Chromium's own
}

const (
	phoneWidth  = 360
	firefox     = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	iPhone      = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
	android     = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
	chromeMac   = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	edgeWindows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
)

// open opens a tab in a browser, with cookies of its own. What the browser
// complains about on the way, a violated Content-Security-Policy say, fails the
// test at its end.
func (s *site) open(browser context.Context, l look) *tab {
	s.t.Helper()
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	s.t.Cleanup(cancel)
	p := &tab{t: s.t, s: s, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // opens it, for as long as ctx lives
		s.t.Fatal(err)
	}
	err := chromedp.Listen(ctx, func(ev any) {
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			// A status that is no success is what some tests are about.
			if !strings.HasPrefix(ev.Entry.Text, "Failed to load resource: the server responded") {
				p.complain("%s: %s", ev.Entry.Source, ev.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			p.complain("exception: %s", ev.ExceptionDetails.Text)
		case *page.EventJavascriptDialogOpening:
			p.complain("dialog: %s", ev.Message)
		}
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.problems) > 0 {
			s.t.Errorf("the browser complains:\n%s", strings.Join(p.problems, "\n"))
		}
	})
	p.resize(l)
	theme := "light"
	if l.dark {
		theme = "dark"
	}
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}},
	})
	p.speak(l)
	if l.noScripts {
		call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	return p
}

// speak sets what the tab says that it is, and which language it wants.
func (p *tab) speak(l look) {
	p.t.Helper()
	if l.agent != "" {
		call(p, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: l.agent, AcceptLanguage: l.language})
	}
}

func (p *tab) complain(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, fmt.Sprintf(format, args...))
}

func (p *tab) resize(l look) {
	p.t.Helper()
	width, height := l.width, int64(600)
	if width == 0 {
		width = 1100
	}
	options := []chromedp.EmulateViewportOption{}
	if l.scale != 0 {
		options = append(options, chromedp.EmulateScale(l.scale))
	}
	if width == phoneWidth {
		height = 740
		options = append(options, chromedp.EmulateMobile)
	}
	p.do(chromedp.EmulateViewport(width, height, options...))
}

// do runs steps on the page.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	for _, step := range steps {
		run(p, step)
	}
}

func run[T any](p *tab, step chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		p.fail(err)
	}
	return v
}

// fail ends the test and says what the page is.
func (p *tab) fail(what any) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	at, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	p.t.Fatalf("%v\nat %s:\n%s", what, at, text)
}

// eval evaluates an expression in the page, from outside: neither its policy nor
// disabled scripts are in the way.
func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	return run(p, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// visit loads a page of the site.
func (p *tab) visit(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.s.url + path))
}

// path is where the tab is.
func (p *tab) path() string {
	p.t.Helper()
	u, err := url.Parse(run(p, chromedp.Location()))
	if err != nil {
		p.t.Fatal(err)
	}
	return u.RequestURI()
}

// wantPath fails the test if the tab is elsewhere.
func (p *tab) wantPath(prefix string) {
	p.t.Helper()
	if got := p.path(); !strings.HasPrefix(got, prefix) {
		p.fail(fmt.Sprintf("at %s, want %s", got, prefix))
	}
}

// text is what can be read on the page.
func (p *tab) text() string {
	p.t.Helper()
	return eval[string](p, `document.body.innerText`)
}

// wantText fails the test if the page does not say all of these.
func (p *tab) wantText(texts ...string) {
	p.t.Helper()
	page := p.text()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			p.fail(fmt.Sprintf("the page does not say %q", text))
		}
	}
}

// named is an XPath of the elements with a tag and an accessible name.
func named(tag, name string) string {
	return fmt.Sprintf(`//%s[@aria-label="%s" or not(@aria-label) and normalize-space()="%[2]s"]`, tag, name)
}

// click clicks a link or a button and waits for the page it leads to.
func (p *tab) click(tag, name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(named(tag, name))); err != nil {
		p.fail(fmt.Errorf("click on %s %q: %w", tag, name, err))
	}
}

// fill types into the field with a label.
func (p *tab) fill(label, text string) {
	p.t.Helper()
	field := fmt.Sprintf(`//input[@id=//label[normalize-space()="%s"]/@for]`, label)
	p.do(chromedp.Click(field), chromedp.SendKeys(field, text))
}

// login logs a user in.
func (p *tab) login(user string) {
	p.t.Helper()
	p.visit("/login")
	p.signIn(user, password)
	p.wantText("Hello, " + user)
}

// signIn fills in the login page.
func (p *tab) signIn(user, password string) {
	p.t.Helper()
	p.fill("Name", user)
	p.fill("Password", password)
	p.click("button", "Sign in")
}

// visitRaw loads any URL.
func (p *tab) visitRaw(u string) {
	p.t.Helper()
	p.do(chromedp.Navigate(u))
}

// call sends a command of the protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	r, err := chromedp.Call(ctx, command, params)
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}
