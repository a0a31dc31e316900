"""Where rows come from: the Hub, local files and the corpus, read in Arrow batches of one schema."""
