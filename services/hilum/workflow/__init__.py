"""Workflow: which study is ready for which algorithm, and why, or why not?"""
