"""The use cases: register one import, run the steps that follow, sweep all imports."""
