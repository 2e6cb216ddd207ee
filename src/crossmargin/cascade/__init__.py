"""What happens to everyone: impact, depth, loop gain, contagion, open interest, simulation."""
