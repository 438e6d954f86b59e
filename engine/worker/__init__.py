"""The engine process: the only part of Easel that imports torch. Started as `python -m engine.worker`."""
