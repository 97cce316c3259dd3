"""AWS on this machine: `aws` is the emulation; `demo`, `live`, `derive`, `verify` and `bench` are what make runs."""
