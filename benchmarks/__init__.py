"""Speed against peers and against the machine, as ratios within one run: `make bench`."""
