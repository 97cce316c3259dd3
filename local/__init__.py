"""AWS on this machine: `aws` is the emulation; `demo`, `live`, `derive` and `bench` are what make runs."""
