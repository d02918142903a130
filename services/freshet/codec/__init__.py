"""Between bytes and values: the contract's messages decoded, checked and turned into domain values, and back.

May import `freshet.v1`, `domain` and `errors`. No I/O.
"""
