package parse

// Reason is why a line was rejected.
type Reason string
