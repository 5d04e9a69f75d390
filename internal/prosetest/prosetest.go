// Package prosetest finds prose that is hard to read. It looks for sentences
// that are folded with colons and semicolons, and for paragraphs that are long.
// It reads pages in Markdown and the comments of exported names in Go. It
// imports nothing but the standard library.
package prosetest

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLength is how many characters a paragraph may have.
const MaxLength = 600

// A Paragraph is a paragraph or a list item of a page or a comment. Text is as
// a reader sees it, in one line and with links without their addresses. The
// punctuation of inline code is replaced, since it is not that of the sentence.
type Paragraph struct {
	File string
	Line int
	Text string
}

// Faults returns a line for each sentence with more than one colon or semicolon,
// and one if the paragraph has more than MaxLength characters.
func (p Paragraph) Faults() []string {
	var faults []string
	for _, s := range Sentences(p.Text) {
		if n := Points(s); n > 1 {
			faults = append(faults, fmt.Sprintf("%s:%d: %d colons and semicolons: %s", p.File, p.Line, n, s))
		}
	}
	if n := utf8.RuneCountInString(p.Text); n > MaxLength {
		start, _, _ := strings.Cut(p.Text, ". ")
		faults = append(faults, fmt.Sprintf("%s:%d: a paragraph of %d characters: %s …", p.File, p.Line, n, start))
	}
	return faults
}

// fold matches a colon or semicolon that divides a sentence. That of a time, an
// address or a name in a program is followed by something else.
var fold = regexp.MustCompile(`[:;](?:[\s"'”’)\]]|$)`)

// Points counts the colons and semicolons that divide the sentences of a text.
func Points(text string) int { return len(fold.FindAllString(text, -1)) }

// abbreviations end with a full stop that does not end a sentence.
var abbreviations = []string{"e.g.", "i.e.", "cf.", "vs.", "No.", "approx."}

// Sentences splits a paragraph. A sentence ends with a full stop, a question mark
// or an exclamation mark before a space. If a bracket or quotation mark closes
// between the two, and the next word begins with a small letter, it goes on.
func Sentences(text string) []string {
	var sentences []string
	words := strings.Fields(text)
	start := 0
	for i, word := range words {
		if i+1 < len(words) && !ends(word, words[i+1]) {
			continue
		}
		sentences = append(sentences, strings.Join(words[start:i+1], " "))
		start = i + 1
	}
	return sentences
}

func ends(word, next string) bool {
	bare := strings.TrimRight(word, `)]"'”’`)
	if !strings.HasSuffix(bare, ".") && !strings.HasSuffix(bare, "?") && !strings.HasSuffix(bare, "!") {
		return false
	}
	if slices.Contains(abbreviations, strings.TrimLeft(bare, `(["'“‘`)) {
		return false
	}
	first, _ := utf8.DecodeRuneInString(next)
	return bare == word || !unicode.IsLower(first)
}

var (
	item = regexp.MustCompile(`^(?:[-*+]|\d+[.)])\s+`)
	// What a page has in it that is not text, and what a reader sees of it.
	code     = regexp.MustCompile("`+[^`]+`+")
	image    = regexp.MustCompile(`!\[[^\]]*\]\([^)]*\)`)
	link     = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	autolink = regexp.MustCompile(`<https?://[^>]*>`)
	tag      = regexp.MustCompile(`<[^>]*>`)
	entity   = regexp.MustCompile(`&#?\w+;`)
	emphasis = strings.NewReplacer("**", "", "__", "")
	unpoint  = strings.NewReplacer("`", "", ":", "_", ";", "_", ".", "_", "?", "_", "!", "_")
)

func visible(text string) string {
	text = code.ReplaceAllStringFunc(text, unpoint.Replace)
	text = image.ReplaceAllString(text, "")
	text = link.ReplaceAllString(text, "$1")
	text = autolink.ReplaceAllString(text, "address")
	text = tag.ReplaceAllString(text, "")
	text = entity.ReplaceAllString(text, "x")
	return strings.Join(strings.Fields(emphasis.Replace(text)), " ")
}

// Markdown returns the paragraphs and list items of a page. It leaves out
// blocks of code, tables, headings, pictures, HTML comments, and the parts that
// the program bench writes.
func Markdown(file, page string) []Paragraph {
	var paragraphs []Paragraph
	open := false // the last paragraph may go on
	until := ""   // the end of a block that is left out
	for i, line := range strings.Split(page, "\n") {
		line = strings.TrimSpace(line)
		if until != "" {
			if strings.Contains(line, until) {
				until = ""
			}
			continue
		}
		switch {
		case strings.HasPrefix(line, "```"):
			open, until = false, "```"
		case strings.HasPrefix(line, "<!-- bench: "):
			open, until = false, "<!-- end -->"
		case strings.HasPrefix(line, "<!--"):
			open = false
			if !strings.Contains(line, "-->") {
				until = "-->"
			}
		case line == "", line[0] == '|', line[0] == '#', line[0] == '<' && !autolink.MatchString(line), strings.HasPrefix(line, "!["):
			open = false
		case item.MatchString(line) || !open:
			paragraphs = append(paragraphs, Paragraph{file, i + 1, item.ReplaceAllString(line, "")})
			open = true
		default:
			paragraphs[len(paragraphs)-1].Text += " " + line
		}
	}
	for i := range paragraphs {
		paragraphs[i].Text = visible(paragraphs[i].Text)
	}
	return paragraphs
}

// Comments returns the paragraphs and list items in the comments of the exported
// names of a module, and of its packages. Tests and the modules inside it are left
// out. Line is that of the comment. File is relative to the module.
func Comments(module string) ([]Paragraph, error) {
	var paragraphs []Paragraph
	err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			nested, _ := filepath.Glob(filepath.Join(path, "go.mod"))
			if path != module && (len(nested) > 0 || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(module, path)
		for _, group := range exported(file) {
			line := fset.Position(group.Pos()).Line
			for _, text := range commentTexts(group.Text()) {
				paragraphs = append(paragraphs, Paragraph{name, line, text})
			}
		}
		return err
	})
	return paragraphs, err
}

// exported returns the comments that go doc shows of a file.
func exported(file *ast.File) []*ast.CommentGroup {
	var groups []*ast.CommentGroup
	add := func(more ...*ast.CommentGroup) {
		for _, g := range more {
			if g != nil {
				groups = append(groups, g)
			}
		}
	}
	fields := func(list *ast.FieldList) {
		for _, f := range list.List {
			if len(f.Names) == 0 || slices.ContainsFunc(f.Names, (*ast.Ident).IsExported) {
				add(f.Doc, f.Comment)
			}
		}
	}
	add(file.Doc)
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || receiver(d).IsExported()) {
				add(d.Doc)
			}
		case *ast.GenDecl:
			shown := false
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					if !s.Name.IsExported() {
						continue
					}
					shown = true
					add(s.Doc, s.Comment)
					switch t := s.Type.(type) {
					case *ast.StructType:
						fields(t.Fields)
					case *ast.InterfaceType:
						fields(t.Methods)
					}
				case *ast.ValueSpec:
					if slices.ContainsFunc(s.Names, (*ast.Ident).IsExported) {
						shown = true
						add(s.Doc, s.Comment)
					}
				}
			}
			if shown {
				add(d.Doc)
			}
		}
	}
	return groups
}

func receiver(d *ast.FuncDecl) *ast.Ident {
	name := &ast.Ident{}
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && name.Name == "" {
			name = id
		}
		return true
	})
	return name
}

// commentTexts returns the text of a comment without headings and blocks of code.
func commentTexts(text string) []string {
	var texts []string
	var walk func(blocks []comment.Block)
	walk = func(blocks []comment.Block) {
		for _, b := range blocks {
			switch b := b.(type) {
			case *comment.Paragraph:
				texts = append(texts, strings.Join(strings.Fields(plain(b.Text)), " "))
			case *comment.List:
				for _, it := range b.Items {
					walk(it.Content)
				}
			}
		}
	}
	walk(new(comment.Parser).Parse(text).Content)
	return texts
}

func plain(text []comment.Text) string {
	var b strings.Builder
	for _, t := range text {
		switch t := t.(type) {
		case comment.Plain:
			b.WriteString(string(t))
		case comment.Italic:
			b.WriteString(string(t))
		case *comment.Link:
			b.WriteString("address")
		case *comment.DocLink:
			b.WriteString(plain(t.Text))
		}
	}
	return b.String()
}
