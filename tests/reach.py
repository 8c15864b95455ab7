"""How to reach the ops that no entry of torch's database is named after: the label of an entry, or a call."""

REACHED_BY: dict = {}
