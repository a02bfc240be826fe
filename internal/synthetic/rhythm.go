package synthetic

import "time"

// A rhythm says how busy each local hour is, in parts of the busiest.
type rhythm [24]uint32

// rhythmOf answers the rhythm of a population on a kind of day: work hours for staff, evenings for elected officials, lessons
// and homework for pupils, afternoons for guests, and machines that never sleep.
func rhythmOf(population int, weekday time.Weekday) rhythm {
	free := weekday == time.Saturday || weekday == time.Sunday
	switch population {
	case popStaff:
		if free { // care has no weekends
			return rhythm{2, 2, 1, 1, 1, 2, 6, 9, 10, 10, 10, 10, 10, 10, 9, 9, 9, 8, 8, 7, 7, 6, 4, 3}
		}
		return rhythm{2, 1, 1, 1, 2, 4, 18, 55, 90, 100, 92, 80, 72, 88, 90, 82, 58, 24, 12, 10, 9, 7, 4, 3}
	case popElected:
		if free {
			return rhythm{2, 1, 0, 0, 0, 1, 4, 8, 14, 22, 26, 22, 18, 20, 22, 24, 26, 30, 34, 38, 36, 24, 12, 5}
		}
		return rhythm{3, 1, 0, 0, 0, 2, 10, 20, 28, 30, 32, 40, 42, 40, 38, 36, 40, 60, 90, 100, 92, 60, 30, 10}
	case popPupil:
		if free {
			return rhythm{6, 3, 1, 1, 0, 0, 1, 2, 4, 8, 12, 16, 18, 18, 20, 20, 20, 20, 20, 20, 20, 18, 14, 10}
		}
		return rhythm{3, 1, 0, 0, 0, 1, 4, 24, 82, 96, 100, 70, 76, 92, 74, 34, 24, 22, 22, 24, 24, 20, 12, 6}
	case popGuest:
		if free {
			return rhythm{1, 0, 0, 0, 0, 0, 0, 2, 6, 20, 40, 55, 60, 60, 60, 50, 30, 10, 6, 6, 5, 4, 2, 1}
		}
		return rhythm{1, 0, 0, 0, 0, 1, 4, 14, 30, 46, 60, 76, 80, 82, 90, 100, 88, 60, 40, 30, 22, 12, 5, 2}
	}
	return rhythm{100, 100, 120, 160, 100, 80, 80, 90, 100, 100, 100, 100, 100, 100, 100, 100, 90, 80, 80, 80, 80, 80, 90, 100}
}

// workdaySum is the sum of a population's hours on a workday, by which a day's visits are spread.
func workdaySum(population int) uint64 {
	var sum uint64
	for _, n := range rhythmOf(population, time.Tuesday) {
		sum += uint64(n)
	}
	return sum
}

// leisure says whether people follow their own interests at this hour rather than their work.
func leisure(weekday time.Weekday, hour int) bool {
	return hour == 12 || hour < 7 || hour >= 16 || weekday == time.Saturday || weekday == time.Sunday
}

// visitsADay is how many visits one person of a population makes on a workday.
func visitsADay(population int) uint64 { return [populations]uint64{26, 7, 22, 10, 300}[population] }

// appetite is how much more or less than its weight a population wants of a category, in percent; at work or in its own time.
func appetite(population int, category string, own bool) uint32 {
	switch category {
	case "games":
		return pick(own, [4]uint32{15, 10, 200, 60}, [4]uint32{3, 2, 100, 60})[population]
	case "streaming", "radio", "social":
		return pick(own, [4]uint32{110, 60, 170, 140}, [4]uint32{40, 40, 80, 120})[population]
	case "shopping", "sports", "travel", "cooking", "housing":
		return pick(own, [4]uint32{130, 80, 40, 100}, [4]uint32{40, 40, 15, 80})[population]
	case "education", "ai", "translation":
		return pick(own, [4]uint32{30, 30, 120, 20}, [4]uint32{60, 20, 260, 20})[population]
	case "public_sector", "business", "collaboration", "union":
		return pick(own, [4]uint32{60, 120, 15, 20}, [4]uint32{170, 200, 30, 20})[population]
	case "politics":
		return [4]uint32{40, 2000, 10, 60}[population]
	case "gambling", "dating", "forums":
		return pick(own, [4]uint32{50, 20, 10, 120}, [4]uint32{10, 5, 5, 100})[population]
	case "pornography", "hate", "piracy", "weapons", "phishing", "malware":
		return [4]uint32{30, 10, 60, 80}[population]
	}
	return 100
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
