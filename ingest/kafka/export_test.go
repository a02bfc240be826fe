package kafka

// Peak is the most bytes that were ever reserved at one time.
func (c *Consumer) Peak() int64 { return c.memory.peak.Load() }

// InFlight is how many are reserved now.
func (c *Consumer) InFlight() int64 { return c.memory.used.Load() }
