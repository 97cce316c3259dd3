"""AWS on this machine: what the demo and the tests run the deployed template and the bundled function on."""
