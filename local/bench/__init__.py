"""`make bench`: how long a cold start takes, beside other ways to write and to ship the same function."""
