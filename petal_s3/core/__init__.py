"""What every package stands on: clock, settings, kinds of logs; imports ``errors`` only."""
