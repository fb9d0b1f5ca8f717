"""What a plan costs: time and memory by phase, against what the device could do."""
