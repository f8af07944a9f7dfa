"""Training the editor on the forward process (DiffusionNFT): noise is added to clean edits, and no step is a sample."""
