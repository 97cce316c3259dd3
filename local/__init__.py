"""What runs on this machine: the local AWS, the demo, and a look at derived names."""
