"""What ``make`` calls: run and check the lessons, bench, scoreboard, site, slides, the makers of datasets/."""
