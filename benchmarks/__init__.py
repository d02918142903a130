"""Each module measures one promise against a named peer in the same run: `python -m benchmarks.NAME [--json]`."""
