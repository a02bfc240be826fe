package vault

import (
	"testing"

	"tillsyn/internal/engine/enginetest"
)

func TestMain(m *testing.M) { enginetest.Main(m) }
