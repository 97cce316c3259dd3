"""AWS on this machine: what moto lacks, so that the deployed template and the bundled function run as on AWS."""
