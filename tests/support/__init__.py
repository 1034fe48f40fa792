"""What several tests need: slides, cohorts, runs and folders made for them."""
