package track

// RulesAlone makes t apply every ping by the rules: the plain twin of usual.
func RulesAlone(t *Tracker) { t.usual.on = false }
