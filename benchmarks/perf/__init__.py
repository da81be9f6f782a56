"""Speed as ratios in one run: against the bare loop of forwards and backwards that an attack needs."""
