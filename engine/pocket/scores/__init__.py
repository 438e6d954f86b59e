"""What the evaluation of the pocket model measures: one module for each subject, run by `engine.pocket.evaluate`.

Each module exports functions that return frozen dataclasses of figures; shares are 0 to 1.
"""
