package category

import (
	"embed"
	"io/fs"
	"path"
	"strings"
)

//go:embed builtin/*.txt
var builtinFiles embed.FS

// The lists that come with tillsyn are files builtin/<list>.<category>.txt.
const (
	builtinScheme = "builtin:"
	starterList   = "tillsyn-starter"
)

func builtinLists() []ListConfig {
	var out []ListConfig
	for _, name := range [...]string{"tillsyn-protected", "tillsyn-background", starterList} {
		out = append(out, ListConfig{Name: name, Source: builtinScheme + strings.TrimPrefix(name, "tillsyn-"), Format: Domains})
	}
	return out
}

func isBuiltin(source string) bool { return strings.HasPrefix(source, builtinScheme) }

// builtinParts answers the files of one list that comes with tillsyn and the category of each.
func builtinParts(source string) (files, categories []string, err error) {
	list := strings.TrimPrefix(source, builtinScheme)
	files, err = fs.Glob(builtinFiles, "builtin/"+list+".*.txt")
	for _, f := range files {
		categories = append(categories, strings.TrimSuffix(strings.TrimPrefix(path.Base(f), list+"."), ".txt"))
	}
	return files, categories, err
}
