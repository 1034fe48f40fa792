"""Match slides with a labels table, check them, screen them and draw folds."""
