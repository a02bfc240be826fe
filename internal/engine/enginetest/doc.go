// Package enginetest gives a test a private embedded ClickHouse.
//
// The engine is a child process of the test binary, so a package that uses it says so in its TestMain:
//
//	func TestMain(m *testing.M) { enginetest.Main(m) }
//
// A start takes about 0.2 s. Tests that can share one engine should: start it once and give every test a database.
package enginetest
