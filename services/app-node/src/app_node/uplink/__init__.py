"""The way from the clients: lane entries and clients' answers, to handlers and callbacks.

`consumer` reads lanes, `pages` what a former holder left, `round_robin` says which lane is next, `dispatcher` begins
handlers, `answers` calls callbacks. An entry that may end a process goes another way (docs/adr/0010): `suspects` moves
its facts into quarantine and holds their clients' others back, `alone` handles those one at a time, `condemned` answers
for what is given up, and `dead_letters` keeps it.

May import `app_node.clients` and what that may import. Independent of `app_node.membership`.
"""
