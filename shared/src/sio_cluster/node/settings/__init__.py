"""The settings of both kinds of node: what there is, how it is read, and the table in README.md.

May import: `protocol`. Inside, `table` is above `config`, and `config` above `forms`.
"""
