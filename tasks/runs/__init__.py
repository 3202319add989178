"""What every run has: a pen for what it sees and does, and an answer at its end."""
