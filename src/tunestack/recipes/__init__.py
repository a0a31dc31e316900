"""One run as a file: model, data, parameters, compute, gate, budget; what it may say and what it turns into."""
