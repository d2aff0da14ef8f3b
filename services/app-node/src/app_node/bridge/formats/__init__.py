"""How each library writes what it asks for. Pure: bytes in, requests out, or `Refused`.

Each module has the names of its library, and the rules of one of its releases, which it names.
"""
