package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// libraryEnv names the library where Config.Library does not.
const libraryEnv = "TILLSYN_CHDB_LIBRARY"

// findLibrary answers the absolute path of libchdb.so: the one named, else the environment's, else the one in the
// nearest node_modules of the executable's directory and its parents. The working directory may be anybody's, and what is
// loaded runs as this process.
func findLibrary(named string) (string, error) {
	if named == "" {
		named = os.Getenv(libraryEnv)
	}
	if named != "" {
		if err := readable(named); err != nil {
			return "", fmt.Errorf("%w: %w", ErrNoLibrary, err)
		}
		return filepath.Abs(named)
	}
	tail, packaged := libraryPackage()
	if !packaged {
		return "", fmt.Errorf("%w: no package of it is published for %s/%s: name your own libchdb.so 26.7 with library or %s, or use a ClickHouse server",
			ErrNoLibrary, runtime.GOOS, runtime.GOARCH, libraryEnv)
	}
	program, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoLibrary, err)
	}
	for dir := filepath.Dir(program); ; dir = filepath.Dir(dir) {
		path := filepath.Join(dir, "node_modules", tail, "libchdb.so")
		if readable(path) == nil {
			return path, nil
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return "", fmt.Errorf("%w in any node_modules above the program: run 'make setup' and 'make build', or name the file with library or %s", ErrNoLibrary, libraryEnv)
}

// libraryPackage is the folder of the npm package for this machine, and whether package-lock.json has one.
func libraryPackage() (folder string, packaged bool) {
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		return filepath.Join("@chdb", "lib-linux-x64-gnu"), true
	}
	return "", false
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a file", path)
	}
	return err
}
