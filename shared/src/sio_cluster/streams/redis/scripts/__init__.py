"""What must be atomic, in Lua. Each script may be repeated without harm. All but FLUSH, PARK, END and REGISTER_IO_NODE
touch keys of one hash tag only.

A stream's state is a hash beside it:

    bytes      how many bytes of entries the stream holds
    NODE       the last sequence number that this node appended
    NODE:bar   how often this node was barred
    reader     the mark of the inbox's reader, a random word: while it is there, this is the inbox that the reader knows
    trimmed    the last id that the inbox's reader has trimmed

and of an inbox that is a log (`api.homes`), where `bytes` counts only what its reader has not read:

    read       how many bytes of entries it holds besides those
    horizon    the last id that is gone from the log
    parked     how many bytes it may hold without a reader: while it is there, the home is parked
    torn       up to this id, nobody knows what its entries said of rooms

A Redis that is out of memory refuses writes that need memory. But readers must still remove what they have read, and an
app-node must still take over from a dead one, since nothing else frees memory. Redis lets a script go on once its first
write is one that needs no memory. So such a script begins with one: XDEL, XTRIM, PERSIST, or HDEL, SREM or ZREM of what
does not exist.

Above each script stand its keys, its arguments, what it returns, and what it does when it is called again since the
answer to the first call was lost.

May import: nothing else of the cluster. Inside, `every` has all of them, and `script` what they have in common.
"""
