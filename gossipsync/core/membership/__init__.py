"""Membership: who is there, whom to link with, whom to talk to this round."""
