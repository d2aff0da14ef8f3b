"""The settings of both kinds of node. To add one: declare it in `declared`, and give it to
a part in `app.py` of the service that reads it.

`declared` has each setting once, `forms` what is accepted for some of them. `config` reads them from the environment
and from keywords. `table` writes the table in README.md.

May import: `protocol`. Inside, `table` and `config` are above `declared`, and that is above `forms`.
"""
