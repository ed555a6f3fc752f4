"""Word lists of the hard refusal. Program text, not policy: no configuration changes them."""
