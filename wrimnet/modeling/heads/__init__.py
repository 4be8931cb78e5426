"""AICL head."""
