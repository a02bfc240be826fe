package parse

// driftSteps is how many parts a Drift's window has: it forgets a part at a time.
const driftSteps = 16

// A Drift watches whether a source's lines still are of its format: it knows the share of rejects among the last lines. It is
// for an alert, so it takes its time: it says nothing before half of its window is full. Its zero value watches nothing; it
// is not safe for concurrent use.
type Drift struct {
	Window    int     // in lines
	Threshold float64 // the share of rejects, 0 to 1, above which the source has drifted

	steps [driftSteps]struct{ lines, rejects int }
	at    int
}

// Add counts lines that were read and lines that were rejected.
func (d *Drift) Add(events, rejects int) {
	if d.Window <= 0 {
		return
	}
	events, rejects = max(events, 0), max(rejects, 0)
	if d.steps[d.at].lines >= max(d.Window/driftSteps, 1) {
		d.at = (d.at + 1) % driftSteps
		d.steps[d.at].lines, d.steps[d.at].rejects = 0, 0
	}
	d.steps[d.at].lines += events + rejects
	d.steps[d.at].rejects += rejects
}

// Share answers the share of rejects among the last lines, 0 to 1, and how many lines that is of.
func (d *Drift) Share() (share float64, lines int) {
	rejects := 0
	for _, step := range d.steps {
		lines += step.lines
		rejects += step.rejects
	}
	if lines == 0 {
		return 0, 0
	}
	return float64(rejects) / float64(lines), lines
}

// Drifted says whether the source's lines have stopped to match its format.
func (d *Drift) Drifted() bool {
	share, lines := d.Share()
	return d.Window > 0 && lines >= max(d.Window/2, 1) && share > d.Threshold
}
