"""Which pictures a report has: every result the evaluation holds, drawn; what cannot be drawn, with the reason."""
