"""What every worker is made of. No torch here."""
