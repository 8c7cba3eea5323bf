"""The laptop's side: plan, check, rehearse, submit. Never part of the code bundle."""
