"""What a load test measured, delivery by delivery, and whether anything is missing.

The core does no IO and reads no clock. Times are microseconds of one clock that all load machines agree on (`clock`).
"""
