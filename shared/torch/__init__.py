"""What the engines share of torch: the only folder of `shared` that imports it."""
