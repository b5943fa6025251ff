"""Bad input, thousands of times: what users hand in, spoiled, and what became of it."""
