"""The public world: files from elsewhere, where they lie, and how they get here whole."""
